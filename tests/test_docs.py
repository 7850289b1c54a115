"""The docs say what the program does: tables, help texts, links and names are held against it.

GPUPREP_UPDATE_GOLDEN=1 (or `make docs`) writes the help texts of docs/commands.md anew; read the diff then.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import typer.main

from gpuprep import cli
from gpuprep.authoring.readme import BEGIN, END, render_table, update_readme
from gpuprep.curriculum import Curriculum
from gpuprep.model import Outcome

CHECKOUT = Path(__file__).resolve().parent.parent
README = CHECKOUT / "README.md"
COMMANDS = CHECKOUT / "docs" / "commands.md"
GUIDES = sorted((CHECKOUT / "exercises").glob("*/README.md"))
PAGES = [README, CHECKOUT / "CONTRIBUTING.md", CHECKOUT / "CHANGELOG.md", *sorted(CHECKOUT.glob("docs/*.md")), *GUIDES]

HELP_BLOCK = re.compile(r"(<!-- help: ([a-z ]+) -->\n)(.*?)(<!-- /help -->)", re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def command_paths() -> list[str]:
    """`gpuprep`, `gpuprep init`, …, `gpuprep dev check`."""

    def below(command: object, path: str) -> Iterator[str]:
        yield path
        for name, child in getattr(command, "commands", {}).items():
            yield from below(child, f"{path} {name}")

    return list(below(typer.main.get_command(cli.app), "gpuprep"))


def help_text(path: str) -> str:
    """What the command prints for `--help`, asked of a real process, as a learner sees it in 80 columns."""
    environment = {"PATH": os.environ["PATH"], "COLUMNS": "80", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-c", "from gpuprep.cli import main; main()", *path.split()[1:], "--help"]
    ran = subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    lines = [line.rstrip() for line in ran.stdout.strip("\n").splitlines()]
    return "```text\n" + "\n".join(lines).strip("\n") + "\n```\n"


def anchor(heading: str) -> str:
    """The fragment that a heading is linked with."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def typed(page: Path) -> Iterator[str]:
    """What the page shows as typed into a shell: inline code, indented lines, and after a `$` in a fence."""
    text = page.read_text(encoding="utf-8")
    prose = FENCE.sub("", text)
    lines = [line for fence in FENCE.findall(text) for line in re.findall(r"^\$ (.+)$", fence, re.MULTILINE)]
    lines += re.findall(r"`([^`\n]+)`", prose) + re.findall(r"^ {4}(.+)$", prose, re.MULTILINE)
    for line in lines:
        yield from (command.strip() for command in line.split("&&"))


def ids(path: Path) -> str:
    """A page's name in test reports."""
    return path.relative_to(CHECKOUT).as_posix()


def test_commands_page_is_current() -> None:
    """Every command stands in docs/commands.md once, with the help text that it prints today."""
    paths = command_paths()
    with ThreadPoolExecutor(max_workers=2) as pool:
        current = dict(zip(paths, pool.map(help_text, paths), strict=True))
    page = COMMANDS.read_text(encoding="utf-8")
    assert sorted(match[2] for match in HELP_BLOCK.finditer(page)) == sorted(paths)
    generated = HELP_BLOCK.sub(lambda match: match[1] + current[match[2]] + match[4], page)
    if os.environ.get("GPUPREP_UPDATE_GOLDEN"):
        COMMANDS.write_text(generated, encoding="utf-8")
    assert generated == COMMANDS.read_text(encoding="utf-8"), "make docs"


def test_readme_table_is_current(curriculum: Curriculum) -> None:
    """The README's table is what curriculum.yaml gives."""
    assert render_table(curriculum) in README.read_text(encoding="utf-8")
    assert not update_readme(README, curriculum, check=True), "gpuprep dev stubs"


def test_readme_has_one_table() -> None:
    """Its markers make one pair, so the table is checked at all."""
    text = README.read_text(encoding="utf-8")
    assert (text.count(BEGIN), text.count(END)) == (1, 1)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_local_links_resolve(page: Path) -> None:
    """A link to a file of the project leads to a file, and one with a fragment to a heading."""
    text = page.read_text(encoding="utf-8")
    for link in LINK.findall(FENCE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, fragment = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if fragment:
            headings = HEADING.findall(FENCE.sub("", target.read_text(encoding="utf-8")))
            assert fragment in {anchor(heading) for heading in headings}, link


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_named_commands_exist(page: Path) -> None:
    """Every `gpuprep …` that a page has in code names a command, and every `make …` a target."""
    targets = re.findall(r"^([a-z]+):", (CHECKOUT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    known = {*command_paths(), *(f"make {target}" for target in targets)}
    named = re.findall(r"^(gpuprep dev [a-z]+|(?:gpuprep|make) [a-z]+)\b", "\n".join(typed(page)), re.MULTILINE)
    assert set(named) - known == set()


def test_readme_names_every_command() -> None:
    """A learner finds every command in the README; `dev` by what it holds."""
    text = README.read_text(encoding="utf-8")
    assert [path for path in command_paths() if f"`{path}" not in text and path not in ("gpuprep", "gpuprep dev")] == []


def test_outcomes_page_lists_all_in_their_order() -> None:
    """docs/grading.md explains every outcome, in the order of precedence."""
    text = (CHECKOUT / "docs" / "grading.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([A-Z_]+)` \|", text, re.M) == [outcome.value for outcome in Outcome]
