"""`gpuprep dev`: the commands of a curriculum's author. Wiring only, as in `cli`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gpuprep.cli_typer import QuickCommand, QuickGroup

if TYPE_CHECKING:
    from gpuprep.curriculum import Curriculum

app = typer.Typer(cls=QuickGroup, help="Write exercises, and prove that they hold.", no_args_is_help=True)

CurriculumFolder = Annotated[
    str | None, typer.Option("--curriculum", metavar="DIR", help="A folder with a curriculum.yaml of its own.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout instead of text.")]


def _load(folder: str | None) -> Curriculum:
    from gpuprep import curriculum
    from gpuprep.practice.desk import author_root

    return curriculum.load(author_root(Path(folder).expanduser() if folder else None))


@app.command(cls=QuickCommand)
def new(
    exercise_id: Annotated[str, typer.Argument(metavar="ID", help="A free id, such as `ex_46`.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The rest of the file's name, such as `row_sum`.")],
    module: Annotated[str, typer.Option(metavar="MODULE", help="The module that it belongs to.")],
    title: Annotated[str | None, typer.Option(metavar="TITLE", help="Made from NAME if left out.")] = None,
    language: Annotated[str, typer.Option(metavar="LANGUAGE", help="What it is written in.")] = "triton",
    folder: CurriculumFolder = None,
    as_json: AsJson = False,
) -> None:
    """Start an exercise: reference, grader, stub, a wrong solution and the entry in curriculum.yaml."""
    from gpuprep.authoring.scaffold import scaffold
    from gpuprep.render import authoring, terminal

    named = title or name.replace("_", " ").capitalize()
    result = scaffold(_load(folder), exercise_id, module=module, name=name, title=named, language=language)
    terminal.answer(authoring.scaffold_page(result), authoring.scaffold_document(result), as_json=as_json)


@app.command(cls=QuickCommand)
def stubs(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if a file is stale.")] = False,
    folder: CurriculumFolder = None,
    as_json: AsJson = False,
) -> None:
    """Generate every stub from its reference, and the README's table from curriculum.yaml."""
    from gpuprep.authoring.readme import refresh_readme
    from gpuprep.authoring.stubs import write_stubs
    from gpuprep.render import authoring, terminal

    curriculum = _load(folder)
    results = (*write_stubs(curriculum, check=check), *refresh_readme(curriculum, check=check))
    terminal.answer(authoring.stubs_page(results), authoring.stubs_document(results), as_json=as_json)
    raise typer.Exit(int(any(result.status == "stale" for result in results)))


@app.command("check", cls=QuickCommand)
def check_(
    queries: Annotated[
        list[str] | None, typer.Argument(metavar="[EX]...", help="What to prove; everything if left out.")
    ] = None,
    folder: CurriculumFolder = None,
    as_json: AsJson = False,
) -> None:
    """Prove the curriculum: references pass, stubs don't, wrong solutions get the outcome that they declare."""
    from gpuprep.authoring.proof import prove
    from gpuprep.render import authoring, terminal

    curriculum = _load(folder)
    only = [curriculum.find(query) for query in queries] if queries else None
    with terminal.status("dev check") as on_event:
        proof = prove(curriculum, only=only, on_event=on_event)
    terminal.answer(authoring.proof_page(proof), authoring.proof_document(proof), as_json=as_json)
    raise typer.Exit(int(not proof.holds))


@app.command(cls=QuickCommand)
def attacks(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Attacks and exploits; all of them if left out."),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where to run; `auto` uses a GPU where there is one.")
    ] = "auto",
    sandbox: Annotated[
        Literal["auto", "all", "none", "landlock", "full"],
        typer.Option(help="Where to try them; `auto` is the strongest level that there is here, as in `grade`."),
    ] = "auto",
    folder: CurriculumFolder = None,
    as_json: AsJson = False,
) -> None:
    """Try every known attack on verdicts and on the machine, and every honest solution that must be let through."""
    from gpuprep.authoring.attack_table import attack_table
    from gpuprep.render import terminal
    from gpuprep.render.attacks import attacks_document, attacks_page

    curriculum = _load(folder)
    with terminal.status("dev attacks") as on_event:
        table = attack_table(curriculum, names, device=device, sandbox=sandbox, on_event=on_event)
    terminal.answer(attacks_page(table), attacks_document(table), as_json=as_json)
    raise typer.Exit(int(not table.holds))
