"""`gpuprep grade`: a class's submissions, graded and scored."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from gpuprep import cli_dev
from gpuprep.errors import INTERRUPTED

if TYPE_CHECKING:
    from gpuprep.classroom.grade import Graded, Standing
    from gpuprep.classroom.submissions import Found

# One submission.
_Single = Annotated[
    bool, typer.Option("--single", help="SUBMISSIONS is one submission: a folder, an archive or a file.")
]
_Name = Annotated[
    str | None, typer.Option(metavar="NAME", help="With --single: whose it is; as its folder if left out.")
]
_Submitted = Annotated[
    str | None, typer.Option(metavar="TIME", help="With --single: when it was handed in, 2026-03-01T23:59+01:00.")
]
# A cluster.
_Executor = Annotated[
    Literal["local", "ray", "slurm"], typer.Option(help="Which machines grade: this one, or those of a cluster.")
]
_RayAddress = Annotated[
    str | None,
    typer.Option(metavar="ADDR", help="A Ray that runs: `auto` or host:port; $RAY_ADDRESS, or a new one here."),
]
_Accelerator = Annotated[
    str | None, typer.Option(metavar="TYPE", help="With Ray: the type of GPU to grade on, like H100.")
]
_Slurm = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="With Slurm: an option of sbatch, like partition=gpu. Repeat it."),
]


def grade(
    submissions: Annotated[
        str | None,
        typer.Argument(
            metavar="SUBMISSIONS",
            help="A folder of folders and archives, or a CSV of submission,path; with --single, one submission.",
        ),
    ] = None,
    assignment: Annotated[
        str | None, typer.Option(metavar="FILE", help="What to grade and what it is worth: an assignment.yaml.")
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="DIR", help="Where scores.csv and the journal go.")] = None,
    upgrade: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Complete on this machine's GPU what was graded into DIR without one."),
    ] = None,
    single: _Single = False,
    name: _Name = None,
    submitted: _Submitted = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Files at a time; one a core if left out. One at a time is timed."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what was stopped.")] = False,
    require_sandbox: Annotated[
        Literal["full", "landlock", "none"],
        typer.Option(help="Refuse to grade below it. The strongest that there is here is used in any case."),
    ] = "none",
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where to run; `auto` uses a GPU where there is one.")
    ] = "auto",
    executor: _Executor = "local",
    ray_address: _RayAddress = None,
    accelerator: _Accelerator = None,
    slurm: _Slurm = None,
    folder: cli_dev.CurriculumFolder = None,
    as_json: cli_dev.AsJson = False,
) -> None:
    """Grade a class: a line a submission, and DIR/scores.csv. It can be stopped at any moment and resumed."""
    from gpuprep import curriculum
    from gpuprep.classroom.executors import Place
    from gpuprep.classroom.grade import Settings, grade_class
    from gpuprep.classroom.journal import FILE_NAME
    from gpuprep.classroom.upgrade import upgrade_class

    _refuse_mixed(
        upgrade,
        needed={"SUBMISSIONS": submissions, "--assignment": assignment, "--out": out},
        others={
            "--single": single,
            "--name": name is not None,
            "--submitted": submitted is not None,
            "--resume": resume,
            "--device cpu": device == "cpu",
        },
    )
    place = Place(executor, ray_address, accelerator, slurm or ())
    target = Path(out or upgrade or "").expanduser()
    settings = Settings(target, jobs, resume, device, require_sandbox, place.is_elsewhere)
    graders = place.executor(target, n_jobs=jobs, device="cuda" if upgrade else device)
    named = curriculum.load(Path(folder).expanduser()) if folder else None
    if upgrade is not None:
        work = partial(upgrade_class, target, named, settings, executor=graders)
    else:
        found = named or curriculum.load()
        source = _source(submissions or "", name, submitted, is_single=single)
        work = partial(grade_class, source, Path(assignment or "").expanduser(), found, settings, executor=graders)
    _show(work, resumable=None if upgrade or resume else target / FILE_NAME, as_json=as_json)


def _show(work: Callable[..., Graded], *, resumable: Path | None, as_json: bool) -> NoReturn:
    """Grade, show it while it goes on and when it is done, and exit.

    Args:
        work: what grades.
        resumable: the journal that makes `--resume` worth a try after Ctrl-C, once it is there.
        as_json: one document at the end instead.
    """
    from gpuprep.errors import GraderFaultError
    from gpuprep.render import machine, terminal
    from gpuprep.render.classroom import graded_document, graded_page, interrupted_page, row_page

    try:
        with terminal.bar("grade") as update:

            def tell(standing: Standing) -> None:
                page = row_page(standing.row) if standing.row and not as_json else None
                update(standing.n_done, standing.n_files, page)

            graded = work(on_standing=tell)
    except KeyboardInterrupt:
        again = [*sys.argv[1:], "--resume"] if resumable and resumable.is_file() else sys.argv[1:]
        terminal.show(interrupted_page(f"gpuprep {shlex.join(again)}"), stderr=True)
        raise typer.Exit(INTERRUPTED) from None
    code = GraderFaultError.exit_code if graded.n_faults else 0
    if as_json:
        terminal.write(machine.dumps(graded_document(graded, code)))
    else:
        terminal.show(graded_page(graded), gap=True)
    raise typer.Exit(code)


def _refuse_mixed(upgrade: str | None, *, needed: Mapping[str, str | None], others: Mapping[str, bool]) -> None:
    """Either a class is graded, and then some are needed, or one that was is upgraded, and then none may be said.

    Args:
        upgrade: the folder to upgrade; None where a class is graded.
        needed: by name, what a grading can't do without.
        others: by name, whether it was said.

    Raises:
        UsageError: something is missing or too much.
    """
    from gpuprep.errors import UsageError

    lacking = [name for name, value in needed.items() if value is None]
    if upgrade is not None:
        told = [name for name in needed if name not in lacking] + [name for name, is_said in others.items() if is_said]
        if told:
            raise UsageError(
                f"--upgrade takes all it needs from its folder: {', '.join(told)} can't be said with it",
                next_step=f"gpuprep grade --upgrade {shlex.quote(upgrade)}",
            )
    elif lacking:
        raise UsageError(
            f"missing: {', '.join(lacking)}",
            next_step="gpuprep grade SUBMISSIONS --assignment FILE --out DIR",
        )


def _source(submissions: str, name: str | None, submitted: str | None, *, is_single: bool) -> Path | Found:
    """What is to be graded, as it was named.

    Raises:
        UsageError: it is said of one submission what is asked of a class, or the other way round.
    """
    from gpuprep.classroom.assignment import moment
    from gpuprep.classroom.submissions import find_one
    from gpuprep.errors import UsageError

    path = Path(submissions).expanduser()
    if not is_single:
        if name is not None or submitted is not None:
            raise UsageError("--name and --submitted are said of one submission", next_step="add --single")
        return path
    try:
        return find_one(path, name, moment(submitted) if submitted is not None else None)
    except ValueError as error:
        raise UsageError(f"--submitted: {error}", next_step="gpuprep grade --help") from None
