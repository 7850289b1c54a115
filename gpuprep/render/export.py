"""What `gpuprep classroom export` wrote, and what is left to do by hand."""

from __future__ import annotations

from gpuprep.classroom.export import GRADING, PLACEHOLDER, STUDENTS, Exported
from gpuprep.model import Tier
from gpuprep.render.layout import Page, counted
from gpuprep.render.machine import Document, document

_SHOWN_FILES = 12


def exported_page(exported: Exported) -> Page:
    """The files, and the next steps."""
    page = Page()
    page.line(("✓ ", "good"), (exported.assignment.title, "strong"), f"  {exported.path}")
    own = [name for name in exported.files if "curriculum/" not in name]
    for name in own[:_SHOWN_FILES]:
        page.line((name, "code"), indent=2)
    if n_others := len(exported.files) - len(own):
        page.line(f"and a curriculum of {counted(n_others, 'file')}", indent=2)
    index = "" if exported.has_wheel else " from PyPI; while that hasn't got it, build a wheel and name it with --wheel"
    page.prose(f"It installs {exported.installs}{index}.")
    for name in exported.kept:
        page.prose(
            f"{name} is not what is written here, and was left as it is. Delete it to get the new one.",
            style="warning",
        )
    if exported.path.suffix == ".zip":
        if any(Tier.SPEED in assigned.tiers for assigned in exported.assignment.exercises):
            page.prose(
                "Gradescope has no GPU: what speed is worth stays pending there, and counts for nobody."
                " `tiers: [correct, work]` leaves it out.",
                style="warning",
            )
        page.prose("Upload it as the assignment's autograder, and try it there with a solution and a stub.")
        return page
    if exported.repository is None:
        page.prose(f"Put its name on GitHub in the place of {PLACEHOLDER} in {STUDENTS}, or name it with --repository.")
    page.prose(f"Commit .github and {GRADING}. {STUDENTS} goes into the template of your students' repositories.")
    return page


def exported_document(exported: Exported) -> Document:
    """The same for a machine."""
    return document(
        "classroom export",
        path=str(exported.path),
        title=exported.assignment.title,
        files=exported.files,
        kept=exported.kept,
        installs=exported.installs,
        repository=exported.repository,
    )
