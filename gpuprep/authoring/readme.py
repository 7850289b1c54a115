"""The curriculum's table in a README, between two markers: generated, so that it says what `curriculum.yaml` says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from gpuprep.authoring.stubs import StubResult, StubStatus
from gpuprep.curriculum import Curriculum
from gpuprep.errors import CurriculumError
from gpuprep.exercise import SHARES, Exercise, Target
from gpuprep.workspace import write_atomically

FILE_NAME = "README.md"
BEGIN = "<!-- curriculum:begin -->"
END = "<!-- curriculum:end -->"

_LANGUAGES = {
    "triton": "Triton",
    "cuda": "CUDA C",
    "pytorch": "PyTorch",
    "distributed": "torch.distributed",
    "python": "Python",
}
_FIGURES = {
    "share_of_copy": "of the copy rate",
    "share_of_matmul": "of the matmul rate",
    "times_eager": "× torch eager",
    "times_compiled": "× torch.compile",
    "times_f16": "× float16",
    "times_sdpa": "× the best SDPA",
    "times_unsplit": "× unsplit",
    "times_unfused": "× unfused",
    "times_all_reduce": "× dist.all_reduce",
    "times_one_gpu": "× one GPU",
    "sqnr_db": "dB SQNR",
}
_HEAD = ("| | exercise | what you write | in | minutes | speed: pass → gold |", "|---|---|---|---|---|---|")


def render_table(curriculum: Curriculum) -> str:
    """One table a module, under its title; links are relative to the curriculum's folder."""
    return "\n".join(_lines(curriculum))


def update_readme(path: Path, curriculum: Curriculum, *, check: bool = False) -> bool:
    """Bring the table between the markers up to date.

    Args:
        path: the README, in the curriculum's folder.
        curriculum: what the table shows.
        check: write nothing.

    Returns:
        True where the table differed: it has been written, or with `check` would have to be. A file without markers
        has no table and never differs.

    Raises:
        CurriculumError: the file can't be read, or its markers don't make a pair.
        WorkspaceError: it can't be written.
    """
    text = _read(path)
    if not _has_table(text):
        return False
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise CurriculumError(
            f"{path}: the table needs one {BEGIN} and one {END} after it", next_step=f"mend the markers in {path}"
        )
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    current = f"{head}{BEGIN}\n\n{render_table(curriculum)}\n\n{END}{tail}"
    if current == text:
        return False
    if not check:
        write_atomically(path, current)
    return True


def refresh_readme(curriculum: Curriculum, *, check: bool = False) -> tuple[StubResult, ...]:
    """What became of the README beside `curriculum.yaml`: one result, or none where it has no table."""
    path = curriculum.root / FILE_NAME
    if not path.is_file() or not _has_table(_read(path)):
        return ()
    if not update_readme(path, curriculum, check=check):
        return (StubResult(path, StubStatus.UNCHANGED),)
    return (StubResult(path, StubStatus.STALE if check else StubStatus.WRITTEN),)


def _has_table(text: str) -> bool:
    return BEGIN in text or END in text


def _lines(curriculum: Curriculum) -> Iterator[str]:
    for place, module in enumerate(curriculum.modules):
        if place:
            yield ""
        guide = curriculum.guide_path(module.id)
        title = f"[{module.title}]({_link(curriculum, guide)})" if guide.is_file() else module.title
        yield f"**{title}**"
        yield ""
        yield from _HEAD
        for exercise_id in module.exercise_ids:
            yield _row(curriculum, curriculum.exercise(exercise_id))


def _row(curriculum: Curriculum, exercise: Exercise) -> str:
    cells = (
        exercise.id,
        f"[{exercise.title}]({_link(curriculum, curriculum.stub_path(exercise))})",
        exercise.summary,
        _LANGUAGES.get(exercise.language, exercise.language),
        str(exercise.minutes),
        _targets(exercise.targets) or "not timed",
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _targets(targets: Sequence[Target]) -> str:
    """Targets with commas between them, each operation's behind its name."""
    by_operation: dict[str, list[str]] = {}
    for target in targets:
        by_operation.setdefault(target.of, []).append(_target(target))
    return "; ".join(f"{of}: {', '.join(told)}" if of else ", ".join(told) for of, told in by_operation.items())


def _target(target: Target) -> str:
    """`0.80 → 0.95 of the copy rate`."""
    is_share = target.figure in SHARES
    values = [value for value in (target.pass_at, target.gold_at) if value is not None]
    numbers = " → ".join(f"{value:.2f}" if is_share else f"{value:g}" for value in values)
    return f"{numbers} {_FIGURES.get(target.figure, target.figure)}"


def _link(curriculum: Curriculum, path: Path) -> str:
    return path.relative_to(curriculum.root).as_posix()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CurriculumError(f"{path}: can't be read ({error})") from error
