"""`gpuprep classroom`: what an instructor does with a class that was graded. Wiring only, as in `cli`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gpuprep.cli_dev import AsJson, CurriculumFolder
from gpuprep.cli_typer import QuickCommand, QuickGroup

if TYPE_CHECKING:
    from gpuprep.classroom.record import ClassRecord

app = typer.Typer(cls=QuickGroup, help="Use what `gpuprep grade` found out.", no_args_is_help=True)

GradedFolder = Annotated[str, typer.Argument(metavar="DIR", help="What `gpuprep grade --out` named.")]


def _record(graded: str, folder: str | None) -> ClassRecord:
    from gpuprep import curriculum
    from gpuprep.classroom.record import read_class

    named = curriculum.load(Path(folder).expanduser()) if folder else None
    return read_class(Path(graded).expanduser(), named)


@app.command("list", cls=QuickCommand)
def list_(graded: GradedFolder, folder: CurriculumFolder = None, as_json: AsJson = False) -> None:
    """Show the rows of a class again: points, and the outcome of each exercise."""
    from gpuprep.render import terminal
    from gpuprep.render.classroom import class_document, class_page

    record = _record(graded, folder)
    terminal.answer(class_page(record), class_document(record), as_json=as_json)


@app.command(cls=QuickCommand)
def results(
    graded: GradedFolder,
    format_: Annotated[
        Literal["gradescope", "classroom50", "github", "prairielearn", "exercism", "junit", "csv"],
        typer.Option(
            "--format", help="What is to read it. `junit` and `csv` hold the class, the others one submission."
        ),
    ],
    submission: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which submission; not needed where there is only one.")
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Where to write it; stdout if left out. Of `github`: the summary."),
    ] = None,
    folder: CurriculumFolder = None,
) -> None:
    """Write a class's results in the format of a gradebook."""
    from gpuprep.render import terminal
    from gpuprep.render.gradebooks.formats import chosen, of_github, rendered
    from gpuprep.workspace import write_atomically

    record = _record(graded, folder)
    standings = chosen(record, format_, submission)
    if format_ == "github":
        from gpuprep.classroom.places import places

        root = Path(os.environ.get("GITHUB_WORKSPACE") or ".").resolve()
        commands, summary, result = of_github(standings[0], places(root, record.assignment))
        _hand_over(summary, "GITHUB_STEP_SUMMARY", out)
        _hand_over(result, "GITHUB_OUTPUT", None)
        terminal.write(commands)
        return
    text = rendered(record, format_, standings, os.environ)
    if out is None:
        terminal.write(text)
    else:
        write_atomically(Path(out).expanduser(), text)
        terminal.notice(f"{out} is written")


def _hand_over(text: str, variable: str, out: str | None) -> None:
    """Into the file that was asked for, or at the end of the one that GitHub's runner names, or nowhere."""
    from gpuprep.errors import UsageError
    from gpuprep.workspace import write_atomically

    named = os.environ.get(variable)
    if out is not None:
        write_atomically(Path(out).expanduser(), text)
    elif named:
        try:
            with Path(named).open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise UsageError(f"{variable} can't be written: {error}", next_step=f"unset {variable}") from error


@app.command(cls=QuickCommand)
def export(
    assignment: Annotated[str, typer.Option(metavar="FILE", help="What to grade there: an assignment.yaml.")],
    gradescope: Annotated[
        str | None, typer.Option(metavar="ZIP", help="Write an autograder for Gradescope, which takes it as it is.")
    ] = None,
    github: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Write GitHub workflows into this repository, yours.")
    ] = None,
    repository: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="With --github: what GitHub calls that repository.")
    ] = None,
    wheel: Annotated[
        str | None, typer.Option(metavar="FILE", help="Have this wheel of gpuprep installed there, not PyPI's.")
    ] = None,
    require_sandbox: Annotated[
        Literal["full", "landlock", "none"], typer.Option(help="With --gradescope: refuse to grade below it.")
    ] = "none",
    minutes: Annotated[int, typer.Option(help="With --gradescope: the time limit that is set there.")] = 10,
    folder: CurriculumFolder = None,
    as_json: AsJson = False,
) -> None:
    """Write what others' machines grade with: Gradescope's, or runners of GitHub Actions."""
    from gpuprep import curriculum
    from gpuprep.classroom import export as exports
    from gpuprep.errors import UsageError
    from gpuprep.render import terminal
    from gpuprep.render.export import exported_document, exported_page

    order = exports.Order(
        Path(assignment).expanduser(),
        curriculum.load(Path(folder).expanduser() if folder else None),
        has_own_curriculum=folder is not None,
        wheel=Path(wheel).expanduser() if wheel else None,
    )
    if gradescope is not None and github is None:
        path = Path(gradescope).expanduser()
        made = exports.gradescope(path, order, required_sandbox=require_sandbox, minutes=minutes)
    elif github is not None and gradescope is None:
        made = exports.github(Path(github).expanduser(), order, repository=repository)
    else:
        raise UsageError("want one of --gradescope and --github", next_step="gpuprep classroom export --help")
    terminal.answer(exported_page(made), exported_document(made), as_json=as_json)


@app.command(cls=QuickCommand)
def key(
    path: Annotated[
        str, typer.Argument(metavar="FILE", help="Where the private key goes; the public one is FILE.pub.")
    ],
    has_passphrase: Annotated[
        bool, typer.Option("--passphrase", help="Ask for one, and encrypt FILE with it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key to sign results with. A file that is there is never overwritten."""
    from gpuprep.classroom.keys import make_key
    from gpuprep.render import terminal
    from gpuprep.render.signing import key_document, key_page

    made = make_key(Path(path).expanduser(), terminal.secret("passphrase", twice=True) if has_passphrase else None)
    terminal.answer(key_page(made), key_document(made), as_json=as_json)


@app.command(cls=QuickCommand)
def sign(
    graded: GradedFolder,
    key_path: Annotated[str, typer.Option("--key", metavar="FILE", help="Your private key.")],
    out: Annotated[str | None, typer.Option(metavar="FILE", help="Where to; DIR/signed.json if left out.")] = None,
    folder: CurriculumFolder = None,
    as_json: AsJson = False,
) -> None:
    """Sign what a finished class came to, each submission for itself."""
    from gpuprep.classroom.keys import read_private
    from gpuprep.classroom.signing import FILE_NAME, sign_class, written
    from gpuprep.render import terminal
    from gpuprep.render.signing import signed_document, signed_page
    from gpuprep.workspace import write_atomically

    record = _record(graded, folder)
    own = read_private(Path(key_path).expanduser(), lambda: terminal.secret("passphrase"))
    path = Path(out).expanduser() if out else record.folder / FILE_NAME
    write_atomically(path, written(sign_class(record, own)))
    terminal.answer(signed_page(record, own.public, path), signed_document(record, own.public, path), as_json=as_json)


@app.command(cls=QuickCommand)
def feedback(
    graded: GradedFolder,
    out: Annotated[str | None, typer.Option(metavar="FOLDER", help="Where to; DIR/feedback if left out.")] = None,
    folder: CurriculumFolder = None,
    as_json: AsJson = False,
) -> None:
    """Write one HTML page for each student, and a list of them for you."""
    from gpuprep.classroom.feedback import FOLDER, file_names, write_pages
    from gpuprep.render import terminal
    from gpuprep.render.feedback_html import feedback_pages
    from gpuprep.render.feedback_written import written_document, written_page

    record = _record(graded, folder)
    place = Path(out).expanduser() if out else record.folder / FOLDER
    pages = feedback_pages(record)
    write_pages(place, pages)
    names = file_names(student.noted.name for student in record.students)
    terminal.answer(written_page(record, place, pages), written_document(record, place, names), as_json=as_json)
