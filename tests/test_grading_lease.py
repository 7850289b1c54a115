"""Who may use a card: checks share it, timing has it alone, nobody waits for ever, and nothing outlives its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpuprep.curriculum import Curriculum
from gpuprep.errors import GpuprepError
from gpuprep.grading import lease
from gpuprep.grading.card import visible_cards
from gpuprep.grading.machine import card_uuids

CARD, OTHER = "GPU-11111111-2222", "GPU-33333333-4444"
PATIENCE_S = 20.0
_HOLDER = """
import os, signal, sys
from pathlib import Path
from gpuprep.grading import lease


def fork(*_):
    if os.fork():
        print("forked", flush=True)
    else:
        # Its parent's end is all that it waits for.
        while os.getppid() == holder:
            signal.sigtimedwait([], 0.05)
        os._exit(0)


holder = os.getpid()
signal.signal(signal.SIGUSR1, fork)
how, folder, *uuids = sys.argv[1:]
with getattr(lease, how)(uuids, lambda said: print(said, flush=True), Path(folder)):
    print("has it", flush=True)
    sys.stdin.readline()
print("let go", flush=True)
"""


class Holder:
    """A process that takes a lease, and holds it until it is told to let go."""

    def __init__(self, how: str, folder: Path, *uuids: str) -> None:
        command = [sys.executable, "-c", _HOLDER, how, str(folder), *uuids]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def says(self) -> str:
        """The next line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def let_go(self) -> None:
        """And wait until it has."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        assert self.says() == "let go"


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Callable[..., Holder]]:
    """Starts holders, and ends them."""
    started: list[Holder] = []

    def start(how: str, *uuids: str) -> Holder:
        started.append(Holder(how, tmp_path / "cards", *(uuids or (CARD,))))
        return started[-1]

    yield start
    for holder in started:
        holder.process.kill()
        holder.process.communicate()


def can(how: str, folder: Path, *uuids: str) -> bool:
    """True where a lease is to be had at once."""
    told: list[str] = []
    done = threading.Event()

    def take() -> None:
        with getattr(lease, how)(uuids or (CARD,), told.append, folder):
            pass
        done.set()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    deadline = time.monotonic() + PATIENCE_S
    while not done.is_set() and not told and time.monotonic() < deadline:
        time.sleep(0.005)
    return not told


def test_checks_share_a_card(hold: Callable[..., Holder], tmp_path: Path) -> None:
    """Those that only judge what comes out; and nobody times meanwhile."""
    for _ in range(2):
        assert hold("using").says() == "has it"
    assert not can("timing", tmp_path / "cards")


def test_timing_has_a_card_alone(hold: Callable[..., Holder], tmp_path: Path) -> None:
    """Whoever wants to use it meanwhile waits, says so, and goes on when it is free."""
    timer = hold("timing")
    assert timer.says() == "has it"
    waiting = hold("using")
    assert waiting.says() == lease.TO_USE
    assert not can("timing", tmp_path / "cards")
    timer.let_go()
    assert (waiting.says(), waiting.says()) == (lease.GOING_ON, "has it")


def test_timing_is_not_starved(hold: Callable[..., Holder]) -> None:
    """Who comes after one that waits to time waits behind it, though the card is shared at the moment."""
    first = hold("using")
    assert first.says() == "has it"
    timer = hold("timing")
    assert timer.says() == lease.TO_TIME
    late = hold("using")
    assert late.says() == lease.TO_USE
    first.let_go()
    assert (timer.says(), timer.says()) == (lease.GOING_ON, "has it")
    timer.let_go()
    assert (late.says(), late.says()) == (lease.GOING_ON, "has it")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_lease_goes_with_its_process(hold: Callable[..., Holder], number: signal.Signals) -> None:
    """However that ends; one that is killed while it waits leaves nothing either."""
    timer, waiting = hold("timing"), None
    assert timer.says() == "has it"
    waiting = hold("timing")
    assert waiting.says() == lease.TO_TIME
    waiting.process.send_signal(number)
    waiting.process.wait()
    timer.process.send_signal(number)
    timer.process.wait()
    assert hold("timing").says() == "has it"


def test_child_of_a_holder_does_not_keep_the_lease(hold: Callable[..., Holder], tmp_path: Path) -> None:
    """One that was forked while it was held, and is still there when it is let go."""
    parent = hold("timing")
    assert parent.says() == "has it"
    parent.process.send_signal(signal.SIGUSR1)
    assert parent.says() == "forked"
    parent.let_go()
    assert can("timing", tmp_path / "cards")


def test_cards_are_independent(hold: Callable[..., Holder], tmp_path: Path) -> None:
    """Timing on one keeps nobody from another."""
    assert hold("timing").says() == "has it"
    assert can("timing", tmp_path / "cards", OTHER)
    assert not can("using", tmp_path / "cards", OTHER, CARD)


def test_several_cards_are_taken_in_one_order(hold: Callable[..., Holder]) -> None:
    """So no two that want the same ones wait for each other, and what is named twice is taken once."""
    first, second = hold("timing", CARD, OTHER, CARD), hold("timing", OTHER, CARD)
    said = {first.says(): first, second.says(): second}
    assert set(said) == {"has it", lease.TO_TIME}
    said["has it"].let_go()
    assert (said[lease.TO_TIME].says(), said[lease.TO_TIME].says()) == (lease.GOING_ON, "has it")


def test_a_card_has_one_name(hold: Callable[..., Holder], tmp_path: Path) -> None:
    """torch leaves out what the driver puts before it."""
    assert hold("timing", CARD).says() == "has it"
    assert not can("using", tmp_path / "cards", CARD.removeprefix("GPU-"))


def test_a_lease_within_a_lease_is_our_own_mistake(tmp_path: Path) -> None:
    """It would wait for itself, and for ever."""
    with lease.using([CARD], print, tmp_path), pytest.raises(RuntimeError), lease.timing([CARD], print, tmp_path):
        pass
    assert can("timing", tmp_path)


def test_lock_that_was_tidied_up_keeps_others_out_all_the_same(hold: Callable[..., Holder], tmp_path: Path) -> None:
    """Who gets a lock on a file that nobody finds any more takes the new one."""
    folder = tmp_path / "cards"
    timer, waiting = hold("timing"), None
    assert timer.says() == "has it"
    waiting = hold("timing")
    assert waiting.says() == lease.TO_TIME
    for path in folder.iterdir():
        path.unlink()
    timer.let_go()
    assert (waiting.says(), waiting.says()) == (lease.GOING_ON, "has it")
    assert not can("timing", folder)


def test_all_users_can_use_the_folder(tmp_path: Path) -> None:
    """Whatever the umask of the first one: it is like /tmp, and its files are for all to read."""
    before = os.umask(0o077)
    try:
        with lease.using([CARD], print, tmp_path / "cards"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "cards").stat().st_mode & 0o7777 == 0o1777
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "cards").iterdir()} == {0o644}


def test_rights_of_what_somebody_else_put_there_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link to another folder that turned up after the look: a check that runs as root would open that one to all."""
    other, folder = tmp_path / "other", tmp_path / "cards"
    other.mkdir(mode=0o700)
    folder.symlink_to(other)
    looks = iter([False])
    really = Path.is_dir
    monkeypatch.setattr(Path, "is_dir", lambda path: next(looks, None) if path == folder else really(path))
    with lease.using([CARD], print, folder):
        assert other.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["link", "pipe", "no folder"])
def test_strange_file_in_the_lock_s_place_is_told(tmp_path: Path, kind: str) -> None:
    """It is not followed, and nobody waits for it."""
    folder = tmp_path / "cards"
    if kind == "no folder":
        folder.touch()
    else:
        folder.mkdir()
        name = folder / f"{CARD.removeprefix('GPU-')}.gate"
        name.symlink_to("/etc/passwd") if kind == "link" else os.mkfifo(name)
    with pytest.raises(GpuprepError) as caught, lease.using([CARD], print, folder):
        pass
    assert caught.value.next_step


@pytest.mark.gpu
def test_driver_and_torch_mean_the_same_card() -> None:
    """The name that graders are given a card by, and the name that it is locked by."""
    import torch

    cards = visible_cards()
    assert len(cards) == torch.cuda.device_count()
    assert [lease._plain(card.uuid) for card in cards] == [lease._plain(uuid) for uuid in card_uuids(len(cards))]
    assert cards[0].name == torch.cuda.get_device_name(0)


@pytest.mark.gpu
def test_two_checks_at_once_do_not_spoil_each_other(curriculum: Curriculum) -> None:
    """Both are timed, one after the other, and neither takes the other for a stranger."""
    path = curriculum.reference_path(curriculum.exercise("ex_01"))
    code = (
        "import sys; from pathlib import Path; from gpuprep import curriculum;"
        "from gpuprep.grading.session import check;"
        "found = curriculum.load(Path(sys.argv[1]));"
        "print(check(found.exercise('ex_01'), found, Path(sys.argv[2]), device='cuda').outcome)"
    )
    command = [sys.executable, "-c", code, str(curriculum.root), str(path)]
    checks = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [each.communicate(timeout=300)[0].strip() for each in checks] == ["PASSED"] * 3
