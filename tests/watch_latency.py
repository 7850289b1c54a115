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

from watch_terminal import save_by_renaming, save_in_place, watching

from gpuprep import curriculum, workspace

CHECKOUT = Path(__file__).resolve().parent.parent
EXERCISE = "ex_01"
PAUSE_S = 0.3
"""Between a verdict and the next save."""


def latencies_s(folder: Path, n_saves: int) -> list[float]:
    """The times of so many saves, in place and by renaming in turn, right files and wrong ones in turn.

    Args:
        folder: where a workspace is made.
        n_saves: how many, after one that gets the pool warm.
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
            save = save_in_place if number % 4 < 2 else save_by_renaming
            started = time.monotonic()
            save(path, f"{right if number % 2 else wrong}\n# {number}\n")
            terminal.wait(rf"attempt {number}, ")
            times_s.append(time.monotonic() - started)
            terminal.take(PAUSE_S)
        terminal.leave()
    return times_s[1:]


def main() -> None:
    """Print median, spread and the 95th percentile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n_saves", type=int, nargs="?", default=40)
    n_saves = parser.parse_args().n_saves
    with tempfile.TemporaryDirectory() as folder:
        times_ms = sorted(1000 * time_s for time_s in latencies_s(Path(folder), n_saves))
    p95 = statistics.quantiles(times_ms, n=20)[-1] if len(times_ms) > 1 else times_ms[0]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"{EXERCISE}, {len(times_ms)} saves: median {statistics.median(times_ms):.0f} ms, p95 {p95:.0f} ms, "
        f"{times_ms[0]:.0f} to {times_ms[-1]:.0f} ms; {len(os.sched_getaffinity(0))} cores, load {load}"
    )


if __name__ == "__main__":
    main()
