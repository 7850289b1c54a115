"""How long it takes in `gpuprep watch` from a save to its verdict on the screen: `python tests/watch_latency.py`.

The tests' own terminal is the learner's here: the time ends when it has taken in and laid out what was written.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import psutil
from watch_terminal import LIMIT_S, LOOK_S, save_by_renaming, save_in_place, watching

from gpuprep import curriculum, workspace

CHECKOUT = Path(__file__).resolve().parent.parent
EXERCISE = "ex_01"
PAUSE_S = 0.3
"""Between a verdict and the next save."""
CALM_PERCENT, CALM_LOOK_S, CALM_LIMIT_S = 25.0, 0.25, 20.0
"""What all cores may do on average, over how long, and how long that is waited for."""


def wait_until_calm() -> None:
    """Wait until nobody else keeps the cores busy, for a while."""
    deadline = time.monotonic() + CALM_LIMIT_S
    while psutil.cpu_percent(CALM_LOOK_S) > CALM_PERCENT and time.monotonic() < deadline:
        pass


def latencies_s(folder: Path, n_saves: int, *, is_calm: bool = False) -> list[float]:
    """The times of so many saves, in place and by renaming in turn, right files and wrong ones in turn.

    Args:
        folder: where a workspace is made.
        n_saves: how many, after one that gets the pool warm.
        is_calm: before each, wait until the machine is calm.
    """
    found = curriculum.load(CHECKOUT)
    exercise = found.exercise(EXERCISE)
    made = workspace.init(folder, found, curriculum_root=CHECKOUT).workspace
    path = made.exercise_path(exercise)
    right = found.reference_path(exercise).read_text(encoding="utf-8")
    wrong = (CHECKOUT / "tests" / "wrong" / exercise.slug / "drops_the_tail.py").read_text(encoding="utf-8")
    times_s = []
    with watching(folder, EXERCISE) as terminal:
        terminal.wait("waiting for a save")
        for number in range(1, n_saves + 2):
            if is_calm:
                wait_until_calm()
            save = save_in_place if number % 4 < 2 else save_by_renaming
            started = time.monotonic()
            save(path, f"{right if number % 2 else wrong}\n# {number}\n")
            while f"attempt {number}, " not in terminal.text and time.monotonic() < started + LIMIT_S:
                terminal.take(LOOK_S)
            times_s.append(time.monotonic() - started)
            terminal.wait(rf"attempt {number}, ")
            terminal.take(PAUSE_S)
        terminal.leave()
    return times_s[1:]


def main() -> None:
    """Print median, spread and the 95th percentile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n_saves", type=int, nargs="?", default=40)
    parser.add_argument("--calm", action="store_true", help="before each save, wait for the other programs to be calm")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        times_ms = sorted(
            1000 * time_s for time_s in latencies_s(Path(folder), arguments.n_saves, is_calm=arguments.calm)
        )
    p95 = statistics.quantiles(times_ms, n=20)[-1] if len(times_ms) > 1 else times_ms[0]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"{EXERCISE}, {len(times_ms)} saves: median {statistics.median(times_ms):.0f} ms, p95 {p95:.0f} ms, "
        f"{times_ms[0]:.0f} to {times_ms[-1]:.0f} ms; {len(os.sched_getaffinity(0))} cores, load {load}"
    )


if __name__ == "__main__":
    main()
