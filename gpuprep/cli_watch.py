"""`gpuprep watch`: the command, and the loop between keyboard, files, checks and screen. What follows what is decided
in `practice.watching`."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import termios
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from gpuprep.cli_dev import AsJson
from gpuprep.cli_exercise import OneExercise
from gpuprep.errors import INTERRUPTED, UsageError

if TYPE_CHECKING:
    from gpuprep.practice.background_checks import BackgroundChecks
    from gpuprep.practice.desk import Desk
    from gpuprep.practice.keyboard import Keys
    from gpuprep.practice.saves import FolderWatch
    from gpuprep.practice.watched import Action, Bench, Quit
    from gpuprep.practice.watching import Watch
    from gpuprep.render.layout import Page

    Draw = Callable[[Callable[[int, int], Page]], None]

REDRAW_S = 0.15
"""How long the course of a check may be ahead of what is shown: drawing takes time that the check could use, and most
checks are over by then."""
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def is_possible() -> bool:
    """True where somebody sits at a terminal that can show a screen."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def watch(query: OneExercise = None, as_json: AsJson = False) -> None:
    """Check the current exercise whenever you save it; keys give hints, the list, and the next one.

    With `--json` there are no keys: a line with one JSON document for each check, until it is interrupted.
    """
    if not as_json and not is_possible():
        raise UsageError("watch needs a terminal, for its keys and its screen", next_step="gpuprep check")
    from gpuprep.grading.card import card_is_likely
    from gpuprep.practice.desk import open_desk
    from gpuprep.practice.watching import begin

    desk = open_desk()
    session = _Session(desk, begin(desk, query, has_card=card_is_likely()))
    with _signals(session):
        code = session.print_lines() if as_json else session.fill_screen()
    raise typer.Exit(code)


class _Session:
    """One watch, from its first screen to its last."""

    def __init__(self, desk: Desk, watch: Watch) -> None:
        self._desk = desk
        self._watch = watch
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._woken, self.wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._checks: BackgroundChecks | None = None
        self._saves: FolderWatch | None = None
        self._keyboard: int | None = None
        self._pending: deque[Any] = deque()
        self._drawn: tuple[Any, ...] = ()
        self._behind_s: float | None = None
        """Since when the screen shows something else than there is to show."""
        self._is_urgent = False
        """Somebody has pressed a key, and looks."""
        self.ending: int | None = None
        """The signal that asked for the end."""

    # The two ways to show it

    def fill_screen(self) -> int:
        """Watch on a terminal until the learner leaves.

        Returns:
            The exit code.
        """
        from gpuprep.practice.keyboard import single_keys
        from gpuprep.practice.watched import Bench, Quit
        from gpuprep.render import terminal
        from gpuprep.render.watching import farewell_page

        self._keyboard = sys.stdin.fileno()
        with self._at_work():
            while True:
                self._drawn = ()
                try:
                    with single_keys(self._keyboard), terminal.full_screen() as draw:
                        left = self._run(partial(self._show, draw))
                except (OSError, termios.error):
                    # Nothing can be put right on a terminal that is gone.
                    if not _is_gone(self._keyboard):
                        raise
                    self.ending, left = signal.SIGHUP, Quit(is_interrupted=True)
                if isinstance(left, Bench):
                    self._bench(left)
                elif isinstance(left, Quit):
                    break
                else:
                    # As at a shell: the terminal is the shell's until it puts this process in front again.
                    os.kill(os.getpid(), signal.SIGTSTP)
            if self.ending != signal.SIGHUP:
                terminal.show(farewell_page(self._watch.view()))
        return self._exit_code(is_interrupted=left.is_interrupted)

    def print_lines(self) -> int:
        """Watch until a signal comes, and print each check.

        Returns:
            The exit code.
        """
        with self._at_work():
            self._run(lambda: None, on_finished=_print_line)
        return self._exit_code(is_interrupted=True)

    def _exit_code(self, *, is_interrupted: bool) -> int:
        if self.ending in (signal.SIGTERM, signal.SIGHUP):
            return 128 + self.ending
        return INTERRUPTED if is_interrupted else 0

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        """Checks and saves, which are both threads, and nothing of them afterwards."""
        from gpuprep.practice.background_checks import BackgroundChecks
        from gpuprep.practice.checking import Options
        from gpuprep.practice.saves import FolderWatch
        from gpuprep.practice.watched import Touched

        self._checks = BackgroundChecks(self._desk, Options(), self.post)
        self._saves = FolderWatch(self._desk.workspace.root / "exercises", lambda paths: self.post(Touched(paths)))
        try:
            yield
        finally:
            self._saves.close()
            self._checks.close()

    # What comes in

    def post(self, event: Any) -> None:
        """Take in an event; from any thread."""
        self._inbox.put(event)
        # Full is awake enough.
        with contextlib.suppress(BlockingIOError):
            os.write(self.wake, b"\0")

    def _run(self, show: Callable[[], None], on_finished: Callable[[Any], None] | None = None) -> Any:
        """Wait, take in, act and show, until it is time to leave.

        Returns:
            Why: a `Quit`, a `Bench`, or None for Ctrl-Z.
        """
        from gpuprep.practice.background_checks import Finished
        from gpuprep.practice.keyboard import Keys
        from gpuprep.practice.watched import Pressed, Quit

        keys = Keys()
        while True:
            # Those that came together with one that ended an earlier run are still here.
            while self._pending:
                event = self._pending.popleft()
                if event == Pressed("ctrl-z"):
                    return None
                if event == Pressed("ctrl-l"):
                    self._drawn = ()
                self._is_urgent |= isinstance(event, Pressed)
                left = self._act(self._watch.handle(event, time.monotonic()))
                if on_finished and isinstance(event, Finished):
                    on_finished(event.checked)
                if left is not None:
                    return left
            self._act(self._watch.look(time.monotonic()))
            show()
            self._pending += self._wait(keys)
            if self.ending is not None:
                return Quit(is_interrupted=True)

    def _act(self, actions: Sequence[Action]) -> Bench | Quit | None:
        """Do what is to be done, but for what ends the run."""
        from gpuprep.practice.watched import Check, Prepare

        assert self._checks is not None  # noqa: S101  at work
        left = None
        for action in actions:
            if isinstance(action, Check):
                self._checks.start(action.exercise)
            elif isinstance(action, Prepare):
                self._checks.prepare()
            else:
                left = left or action
        return left

    def _wait(self, keys: Keys) -> Sequence[Any]:
        """What has happened: at once where something has, else after a while, to look at the file again."""
        from gpuprep.practice.keyboard import ESCAPE_S
        from gpuprep.practice.watched import Pressed

        ready = select.poll()
        for descriptor in (self._woken, self._keyboard):
            if descriptor is not None:
                ready.register(descriptor, select.POLLIN)
        found = {descriptor for descriptor, _ in ready.poll(ESCAPE_S * 1000 if keys.is_open else self._patience_ms())}
        pressed: list[str] = []
        if self._keyboard in found:
            data = _read(self._keyboard)
            if not data:
                # The terminal is gone.
                self.ending = self.ending or signal.SIGHUP
            pressed = keys.feed(data)
        elif keys.is_open:
            pressed = keys.close()
        if self._woken in found:
            _read(self._woken)
        events: list[Any] = [Pressed(key) for key in pressed]
        while not self._inbox.empty():
            events.append(self._inbox.get())
        return events

    def _patience_ms(self) -> float:
        from gpuprep.practice.saves import HEARTBEAT_S, POLL_S

        now_s = time.monotonic()
        waits = [POLL_S if self._why_polling else HEARTBEAT_S]
        if (due_s := self._watch.due_s) is not None:
            waits.append(due_s - now_s)
        if self._behind_s is not None:
            waits.append(self._behind_s + REDRAW_S - now_s)
        # Up, or it would be looked at just before it is due, again and again.
        return max(0.0, min(waits) * 1000 + 1)

    @property
    def _why_polling(self) -> str:
        return self._saves.why_polling if self._saves else ""

    # What is shown

    def _show(self, draw: Draw) -> None:
        from gpuprep.render.watching import Setting, watch_screen

        view = self._watch.view()
        shown = (view, _terminal_size(), self._watch.scroll, self._why_polling)
        if shown == self._drawn:
            return
        now_s = time.monotonic()
        self._behind_s = self._behind_s or now_s
        if self._drawn and view.busy and not self._is_urgent and now_s < self._behind_s + REDRAW_S:
            return
        setting = Setting(self._desk.curriculum, self._desk.workspace.display, self._why_polling)

        def build(columns: int, rows: int) -> Page:
            screen = watch_screen(view, setting, columns=columns, rows=rows, scroll=self._watch.scroll)
            self._watch.scroll = min(self._watch.scroll, screen.max_scroll)
            return screen.page

        draw(build)
        self._drawn = (*shown[:2], self._watch.scroll, self._why_polling)
        self._behind_s, self._is_urgent = None, False

    def _bench(self, bench: Bench) -> None:
        """Hand the terminal to `gpuprep bench`. Ctrl-C is meant for it then, and not for the watch."""
        from gpuprep.practice.keyboard import single_keys
        from gpuprep.render import terminal

        subprocess.run([sys.executable, "-P", "-m", "gpuprep", "bench", bench.exercise.id], check=False)
        if self.ending == signal.SIGINT:
            self.ending = None
        terminal.notice("press a key to go back to the watch")
        assert self._keyboard is not None  # noqa: S101  nobody else can have asked for it
        with single_keys(self._keyboard):
            _read(self._keyboard)


def _print_line(checked: Any) -> None:
    from gpuprep.practice.checking import Options, exit_code
    from gpuprep.render import machine, terminal

    code = exit_code([checked.report], Options())
    document = machine.checks([(checked.exercise, checked.report)], code, unrecorded=checked.unrecorded)
    terminal.write(json.dumps(json.loads(machine.dumps({**document, "command": "watch"}))))


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""


def _is_gone(terminal: int) -> bool:
    try:
        termios.tcgetattr(terminal)
    except termios.error:
        return True
    return False


def _terminal_size() -> tuple[int, int]:
    try:
        return tuple(os.get_terminal_size(sys.stdout.fileno()))  # type: ignore[return-value]
    except OSError:
        return (0, 0)


@contextlib.contextmanager
def _signals(session: _Session) -> Iterator[None]:
    """Signals wake the loop: those that end it, so that the terminal is put right first, and a new size."""

    def end(number: int, _frame: Any) -> None:
        session.ending = number

    before = {number: signal.signal(number, end) for number in _ENDINGS}
    before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, lambda *_: None)
    woken = signal.set_wakeup_fd(session.wake, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
