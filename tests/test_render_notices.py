"""The answers of the small commands."""

from __future__ import annotations

from pathlib import Path

import pytest
import sample_reports as samples
from golden_files import assert_golden

from gpuprep.authoring.proof import Proof, ProofItem
from gpuprep.authoring.scaffold import ScaffoldResult
from gpuprep.authoring.stubs import StubResult, StubStatus
from gpuprep.curriculum import Curriculum, Plan
from gpuprep.practice.doctor import Checkup, CheckupItem, Status
from gpuprep.practice.hints import HintShown
from gpuprep.practice.repro import ReproScript
from gpuprep.practice.solutions import SolutionShown
from gpuprep.render import authoring, machine, notices
from gpuprep.render.layout import Page
from gpuprep.workspace import InitResult, ResetResult, Workspace

CURRICULUM = Curriculum(
    Path("/content"), "GPU and inference engineering", (), (samples.EXERCISE,), (Plan("focused", "Focused", ()),)
)
HEALTHY = Checkup((CheckupItem("Python", Status.OK, "3.11.2"), CheckupItem("GPU", Status.NOTE, "no NVIDIA GPU")))
ILL = Checkup((*HEALTHY.items, CheckupItem("Triton", Status.MISSING, "not installed", "pip install 'triton>=3.6'")))
PROOF = Proof(
    (
        ProofItem("reference passes", "ex_01", holds=True),
        ProofItem("reference passes", "ex_02", holds=False, detail="WRONG_VALUES: 3 of 7 elements are wrong"),
        ProofItem("stub is current", "ex_01", holds=True),
    ),
    ("ex_01 speed: no GPU found",),
)


def _init(kept: int = 0, created: int = 5) -> InitResult:
    files = tuple(Path(f"/w/gym/f{number}") for number in range(5))
    return InitResult(Workspace(Path("/w/gym"), None, "focused"), files[:created], files[:kept], ())


PAGES = {
    "welcome": notices.welcome_page(_init(), CURRICULUM, target="my gym"),
    "hint": notices.hint_page(HintShown(samples.EXERCISE, 1, 3, "Look at the mask of the store.", "tail")),
    "reset": notices.reset_page(samples.EXERCISE, ResetResult(Path("a/b.py"), Path(".gpuprep/backups/x")), str),
    "repro": notices.repro_page(samples.EXERCISE, ReproScript(Path("r.py"), Path("r.pt"), "n=33 float32"), str),
    "doctor_healthy": notices.doctor_page(HEALTHY),
    "doctor_ill": notices.doctor_page(ILL),
    "dev_check": authoring.proof_page(PROOF),
    "dev_stubs": authoring.stubs_page(
        [StubResult(Path("a.py"), StubStatus.STALE), StubResult(Path("b.py"), StubStatus.UNCHANGED)]
    ),
    "dev_new": authoring.scaffold_page(
        ScaffoldResult(samples.EXERCISE, (Path("reference/x.py"), Path("graders/x.py")))
    ),
}


@pytest.mark.parametrize("name", PAGES)
def test_golden_page(name: str) -> None:
    """Each answer reads as its golden file says."""
    assert_golden(name, PAGES[name].text())


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_fits_80_columns(page: Page) -> None:
    """No line is longer than 80 columns."""
    assert max(map(len, page.text().splitlines())) <= 80


def test_welcome_back() -> None:
    """Where nothing was new, init doesn't welcome; it says what it kept."""
    text = notices.welcome_page(_init(kept=2, created=0), CURRICULUM).text()
    assert "up to date" in text
    assert "2 yours, kept" in text
    assert text.splitlines()[-1] == "next: gpuprep next"


def test_last_hint_sends_to_check() -> None:
    """After the last hint, the next command is no further hint."""
    text = notices.hint_page(HintShown(samples.EXERCISE, 2, 3, "All of it.")).text()
    assert text.splitlines()[-1].startswith("next: gpuprep check ex_01")


def test_reset_of_a_missing_file() -> None:
    """Where there was no file, no backup is claimed."""
    text = notices.reset_page(samples.EXERCISE, ResetResult(Path("a.py"), None), str).text()
    assert "none: there was no file" in text


def test_forced_solution_says_so() -> None:
    """A solution that was shown before a pass says that this is on record."""
    told = notices.solution_note(samples.EXERCISE, SolutionShown(Path("r.py"), "x = 1\n", forced=True))
    freely = notices.solution_note(samples.EXERCISE, SolutionShown(Path("r.py"), "x = 1\n", forced=False))
    assert "the record says so" in told
    assert "the record says so" not in freely


@pytest.mark.parametrize(
    ("document", "command"),
    [
        (machine.init(_init()), "init"),
        (machine.hint(HintShown(samples.EXERCISE, 1, 3, "Look.")), "hint"),
        (machine.solution(samples.EXERCISE, SolutionShown(Path("r.py"), "x", forced=True)), "solution"),
        (machine.reset(samples.EXERCISE, ResetResult(Path("a.py"), None)), "reset"),
        (machine.repro(samples.EXERCISE, ReproScript(Path("r.py"), Path("r.pt"), "n=1")), "repro"),
        (machine.doctor(ILL), "doctor"),
        (authoring.proof_document(PROOF), "dev check"),
        (authoring.stubs_document([StubResult(Path("a.py"), StubStatus.STALE)]), "dev stubs"),
        (authoring.scaffold_document(ScaffoldResult(samples.EXERCISE, ())), "dev new"),
    ],
)
def test_documents(document: machine.Document, command: str) -> None:
    """Every answer is also a versioned document that JSON can hold."""
    assert (document["version"], document["command"]) == (machine.VERSION, command)
    assert machine.dumps(document)
