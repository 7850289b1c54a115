"""How steady the speed tier is on this card: references again and again, and solutions that are just too slow.

    python tests/steadiness.py [--checks 20] [--references 20] [--only-references] [ex_01 …]

Every check of a reference is a process of its own. A slowed solution is the reference and then a kernel that waits, so
that the two together take what the exercise's pass target allows, divided by 0.97 or 1.03: the first must never pass,
the second never fail, and few of either may be inconclusive.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from gpuprep import curriculum as curricula
from gpuprep.exercise import Exercise
from gpuprep.grading.loading import load_grader
from gpuprep.grading.pool import WarmPool
from gpuprep.grading.session import check
from gpuprep.model import Report

CHECKED = ("ex_01", "ex_02", "ex_03", "ex_04")
SHARES_OF_TARGET = (0.97, 1.03)
SLOWED = """

import triton as _triton
import triton.language as _tl
from triton.language.extra.cuda import globaltimer as _globaltimer

_plain = {function}


@_triton.jit
def _wait_kernel(ns):
    start = _globaltimer()
    while _globaltimer() - start < ns:
        pass


def {function}({parameters}):
    out = _plain({parameters})
    if out.is_cuda:
        _wait_kernel[(1,)]({wait_ns})
    return out
"""


def checked_anew(exercise: Exercise, n_checks: int) -> list[Report]:
    """The reference's reports, each from a process of its own."""
    return [_report(exercise) for _ in range(n_checks)]


def _report(exercise: Exercise) -> Report:
    script = (
        "import json, sys; from gpuprep import curriculum; from gpuprep.grading.session import check;"
        "c = curriculum.load(); e = c.exercise(sys.argv[1]);"
        "print(json.dumps(check(e, c, c.reference_path(e)).as_dict()))"
    )
    done = subprocess.run([sys.executable, "-c", script, exercise.id], capture_output=True, text=True, check=True)
    from gpuprep.grading.reports import report_from

    return report_from(json.loads(done.stdout))


def slowed(exercise: Exercise, plain: Report, share_of_target: float) -> str:
    """The source of a solution whose first figure is this share of what passes."""
    curriculum = curricula.load()
    grader = load_grader(curriculum, exercise)
    timing = plain.timings[0]
    figure = timing.figures[0]
    wait_ms = timing.median_ms * (figure.value / (figure.target.pass_at * share_of_target) - 1)
    source = curriculum.reference_path(exercise).read_text(encoding="utf-8")
    return source + SLOWED.format(
        function=grader.function, parameters=", ".join(grader.parameters), wait_ns=round(wait_ms * 1e6)
    )


def main() -> None:
    """Print a line for each exercise and kind of solution."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exercises", nargs="*", default=CHECKED)
    parser.add_argument("--checks", type=int, default=20)
    parser.add_argument("--references", type=int, help="checks of a reference, where not as many")
    parser.add_argument("--only-references", action="store_true", help="leave out the slowed solutions")
    wanted = parser.parse_args()
    curriculum = curricula.load()
    print("| exercise | solution | checks | outcomes | figure, median | CV | seconds a check, median |")
    print("|---|---|---|---|---|---|---|")
    with WarmPool() as pool, tempfile.TemporaryDirectory() as folder:
        for exercise in (curriculum.exercise(name) for name in wanted.exercises):
            plain = checked_anew(exercise, wanted.references or wanted.checks)
            _show(exercise, "reference, a fresh process each", plain)
            for share in () if wanted.only_references else SHARES_OF_TARGET:
                path = Path(folder) / f"{exercise.slug}.py"
                path.write_text(slowed(exercise, plain[len(plain) // 2], share), encoding="utf-8")
                reports = [check(exercise, curriculum, path, pool=pool) for _ in range(wanted.checks)]
                _show(exercise, f"slowed to {share} of pass", reports)


def _show(exercise: Exercise, name: str, reports: list[Report]) -> None:
    outcomes = Counter(str(report.outcome) for report in reports)
    timed = [report.timings[0].figures[0] for report in reports if report.timings]
    values = [figure.value for figure in timed]
    spread = statistics.stdev(values) / statistics.fmean(values) if len(values) > 1 else 0.0
    median = f"{statistics.median(values):.3f} {timed[0].target.figure}" if values else "none"
    seconds = statistics.median(report.elapsed_s for report in reports)
    told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    print(f"| {exercise.id} | {name} | {len(reports)} | {told} | {median} | {spread:.2%} | {seconds:.1f} |", flush=True)
    for report in reports:
        if not report.outcome.is_pass and report.message and outcomes[str(report.outcome)] <= 3:
            print(f"  {report.outcome}: {report.message}", file=sys.stderr)


if __name__ == "__main__":
    main()
