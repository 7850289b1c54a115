"""A pool of one's own: warm, found by nobody else, and gone with its owner."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from waiting import are_gone

from gpuprep.curriculum import Curriculum
from gpuprep.grading import pool_client, pool_line
from gpuprep.grading.pool_owned import OwnPool
from gpuprep.grading.session import check

CHECKOUT = Path(__file__).resolve().parent.parent
LOOPS = "from pathlib import Path\nPath({mark!r}).touch()\nwhile True:\n    pass\n"


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A runtime folder in which no pool runs that has a name."""
    folder = tmp_path_factory.mktemp("runtime")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def pool(runtime: Path) -> Iterator[OwnPool]:
    """A warm pool."""
    with OwnPool() as made:
        assert made.wait_until_warm()
        yield made


def family(pool: OwnPool) -> list[psutil.Process]:
    """The pool and all that came of it."""
    root = psutil.Process(pool.pid)
    return [root, *root.children(recursive=True)]


def test_check_goes_to_the_pool_that_was_called(curriculum: Curriculum, pool: OwnPool) -> None:
    """And comes to what it comes to in this process; the next one, without a call, goes to none."""
    exercise = curriculum.exercise("ex_01")
    path = CHECKOUT / "tests" / "wrong" / exercise.slug / "drops_the_tail.py"
    assert pool.call_ahead()
    there = pool_client.check(exercise, curriculum, path, device="cpu")
    assert there is not None
    here = check(exercise, curriculum, path, device="cpu")
    assert (there.outcome, there.file_hash) == (here.outcome, here.file_hash)
    assert pool_client.check(exercise, curriculum, path, device="cpu") is None


def test_nobody_else_finds_it(pool: OwnPool, runtime: Path) -> None:
    """It has no name, so it leaves none."""
    assert pool.is_warm
    assert pool_client.status() is None
    assert list(runtime.rglob("*.sock")) == []


def test_line_that_was_not_used_is_hung_up(pool: OwnPool) -> None:
    """The worker that was made ready goes, and the pool stays."""
    idle = len(family(pool))
    assert pool.call_ahead()
    deadline = time.monotonic() + 30
    while len(family(pool)) == idle and time.monotonic() < deadline:
        time.sleep(0.01)
    waiting = [process for process in family(pool)[1:] if process.pid not in _templates(pool)]
    assert waiting
    pool_line.hang_up()
    assert are_gone(waiting, limit_s=30)
    assert pool.is_warm


def test_closing_ends_what_is_being_graded(curriculum: Curriculum, runtime: Path, tmp_path: Path) -> None:
    """At once, however long the learner's code would go on."""
    mark = tmp_path / "runs"
    path = tmp_path / "ex_01_vector_add.py"
    path.write_text(LOOPS.format(mark=str(mark)), encoding="utf-8")
    with OwnPool() as pool:
        assert pool.wait_until_warm()
        assert pool.call_ahead()
        exercise = curriculum.exercise("ex_01")
        pool_client.begin(exercise, curriculum.root, path, "cpu", None)
        deadline = time.monotonic() + 60
        while not mark.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        processes = family(pool)
    assert len(processes) >= 4
    assert are_gone(processes)
    assert pool_client.check(exercise, curriculum, path, device="cpu") is None


def test_pool_that_is_not_warm_yet_is_ended_at_once(runtime: Path) -> None:
    """Whoever quits in its first second doesn't wait for imports, and nothing is left of them."""
    pool = OwnPool()
    time.sleep(0.3)
    processes = family(pool)
    started = time.monotonic()
    pool.close()
    assert time.monotonic() - started < 2
    assert are_gone(processes)
    assert not pool.wait_until_warm()
    assert not pool.call_ahead()


def _templates(pool: OwnPool) -> set[int]:
    """The pool's children that were there before any check: each an interpreter of its own."""
    children = psutil.Process(pool.pid).children()
    return {child.pid for child in children if "gpuprep.worker.template" in " ".join(child.cmdline())}
