"""A student's page: what went wrong, nothing that must stay hidden, and nothing that a student could put into it."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import sample_record
import sample_reports as samples
from chromium import PROGRAM, Chromium, chromium
from sample_record import DUE, made_assignment, made_record, made_student
from typer.testing import CliRunner

from gpuprep import cli
from gpuprep.classroom.assignment import Assignment
from gpuprep.classroom.feedback import INDEX, file_names
from gpuprep.classroom.hidden import told
from gpuprep.classroom.record import Student
from gpuprep.model import Diagnosis, Outcome, Report, SourceLine
from gpuprep.render.feedback_html import feedback_html, feedback_pages, index_html
from gpuprep.render.findings import MAX_TEXT

MARKUP = "<script>alert('x')</script><img src=x onerror=y>&amp;\x1b[31m\x00\u202e\u200f \"quoted\""
PLAIN = "<script>alert('x')</script><img src=x onerror=y>&amp;[31m \"quoted\""
HOMEWORK = (
    "title: Homework 1\nexercises: [{id: ex_01, weight: 2}, ex_02]\ndue: 2026-03-01T12:00Z\nlate: {per_day: 0.1}\n"
)


class Reader(HTMLParser):
    """Counts a page's elements, and collects its texts and attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.tags[tag] += 1
        self.attributes += attrs
        self.text += " "

    def handle_data(self, data: str) -> None:
        """Text."""
        self.text += data


def page_of(student: Student, assignment: Assignment | None = None) -> str:
    """That student's page."""
    used = assignment or made_assignment()
    return feedback_html(made_record(Path("hw1"), used, student), student)


def text_of(student: Student, assignment: Assignment | None = None) -> str:
    """All that can be read there, spaces as one."""
    return " ".join(Reader(page_of(student, assignment)).text.split())


def handed(*reports: Report | str | None, **more: object) -> Student:
    """Ada's submission: one report an exercise."""
    found = dict(zip(("ex_01", "ex_02"), reports, strict=False))
    return made_student(made_assignment(), "ada", found, **more)  # type: ignore[arg-type]


def test_failure_says_where_and_why_and_what_next() -> None:
    """The case, the line, the samples, the likely cause, the hint that answers it, and a command."""
    text = text_of(handed(samples.wrong_values(), samples.provisional()))
    for expected in (
        "✗ wrong values",
        "n=1025 float32 offset",
        "ex_01_vector_add.py:31",
        "tl.store(out_ptr + offsets, x + y)",
        "[1018] 0.5 nan",
        "the mask of the store does not cover it.",
        "Hint: Second.",
        "gpuprep hint ex_01",
        "Work, speed: – not reached 0 of 1.3333",
        "What your code printed line 1",
    ):
        assert expected in text, expected


def test_counted_work_stands_against_its_budget() -> None:
    """What was counted, what was wanted, and why."""
    text = text_of(handed(samples.too_much_work()))
    assert re.search(r"bytes_loaded 393.216 counted, exactly 262.144 wanted 2·n·itemsize", text)
    assert "1.33 × least" in text


def test_long_output_says_that_it_is_cut() -> None:
    """Its end is shown."""
    report = replace(samples.wrong_values(), stdout="begun" + "-" * MAX_TEXT + "last")
    text = text_of(handed(report, samples.provisional()))
    assert "What your code printed … only the end is shown: -" in text
    assert "-last" in text
    assert "begun" not in text
    assert "only the end" not in text_of(handed(replace(report, stdout="-" * MAX_TEXT)))


def test_output_does_not_tell_where_it_was_graded() -> None:
    """A traceback that the student's code printed has the folder in it."""
    printed = 'File "/home/prof/graded/ada/ex_01.py", line 3'
    text = text_of(handed(replace(samples.wrong_values(), path="/home/prof/graded/ada/ex_01.py", stdout=printed)))
    assert 'printed File "ex_01.py", line 3' in text


def test_points_add_up_and_pending_ones_are_apart() -> None:
    """What is not graded yet is in neither figure; a late submission says what it keeps."""
    text = text_of(handed(samples.wrong_values(), samples.provisional(), submitted=DUE.replace(day=3)))
    assert "0.5333 of 2.6667 points" in text
    assert "0.3333 points not graded yet" in text
    assert "2 days late" in text
    assert "80% of the 0.6667 points that you earned are kept" in text
    assert "◐ pending 0.3333 to be graded" in text


def test_missing_file_says_its_name() -> None:
    """And a refused one why."""
    text = text_of(handed(refused={"ex_02": "2 files are called ex_02_axpy.py"}))
    assert "Hand in a file of the name ex_01_vector_add.py" in text
    assert "✗ refused 0 of 1 2 files are called ex_02_axpy.py" in text


def test_fault_of_the_grader_is_no_fault_of_the_student() -> None:
    """What broke is not told: it is about the instructor's machine."""
    text = text_of(handed("RuntimeError: /home/prof/secret.py"))
    assert "The grader failed, not your code." in text
    assert "secret" not in text
    assert "What to do next" not in text


def hostile_student(assignment: Assignment, length: int = 1) -> Student:
    """Everything that a student can write holds markup, escapes and marks that turn text around."""
    said = MARKUP * length
    case = replace(
        samples.WRONG_CASE,
        outcome=Outcome.RAISED,
        message=said,
        diagnosis=Diagnosis("raised", said),
        where=SourceLine(said, 3, said),
    )
    report = replace(samples.wrong_values(), outcome=Outcome.RAISED, cases=(case,), stdout=said, message=said)
    student = made_student(assignment, said, {"ex_01": report}, refused={"ex_02": said})
    return replace(student, row=replace(student.row, notes=(said,)))


def test_all_that_a_student_wrote_is_text() -> None:
    """No element, no attribute, no control character of theirs gets into a page."""
    assignment = made_assignment()
    student = hostile_student(assignment)
    record = made_record(Path("hw1"), assignment, student)
    for page in feedback_pages(record).values():
        reader = Reader(page)
        assert (reader.tags["script"], reader.tags["img"]) == (0, 0)
        assert not [name for name, _ in reader.attributes if name.startswith("on") or name == "src"]
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]", page)
        assert PLAIN in reader.text
    assert Reader(page_of(student)).text.count(PLAIN) >= 5


def test_a_megabyte_of_text_is_cut_and_said_so() -> None:
    """Whoever opens the page gets a page."""
    page = page_of(hostile_student(made_assignment(), 2**20 // len(MARKUP)))
    assert len(page) < 100_000
    assert "Cut here: only the first 4000 characters are shown." in Reader(page).text


def test_page_asks_for_nothing() -> None:
    """No address but those of its own sections; a policy that forbids the rest."""
    page = page_of(handed(samples.wrong_values(), samples.provisional()))
    assert not re.search(r"https?:|\bsrc=|<link|<script|@import|url\(", page)
    links = re.findall(r'href="([^"]*)"', page)
    assert links == ["#ex_01", "#ex_02"]
    assert "default-src 'none'" in page


def test_no_two_students_share_a_page() -> None:
    """Whatever their names are made of, and though the first digits of their hashes are alike."""
    seen: dict[str, str] = {}
    for number in range(2**19):
        # All of them become `_`: what is left to tell them apart is the hash.
        name = "".join(chr(0x3B1 + int(digit)) for digit in str(number))
        digits = hashlib.sha256(name.encode()).hexdigest()[:8]
        if digits in seen:
            break
        seen[digits] = name
    twins = (seen[digits], name)
    names = file_names([*twins, "index", "../../etc/passwd", "a/b", "a b", "CON", "x" * 5000, "", "ada", "Ada"])
    assert len({file.lower() for file in names.values()} | {INDEX}) == len(names) + 1
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,80}\.html", file) for file in names.values())


def test_index_leads_to_every_page() -> None:
    """With points and outcomes, for the instructor."""
    record = made_record(Path("hw1"), made_assignment())
    pages = feedback_pages(record)
    assert len(pages) == 1 + len(record.students)
    links = re.findall(r'href="([^"]*)"', pages[INDEX])
    assert set(links) == set(pages) - {INDEX}
    text = " ".join(Reader(index_html(record, file_names(s.noted.name for s in record.students))).text.split())
    assert "ada 2.3333 2.3333 ◐ provisional" in text
    assert "bob 0 3 ✗ wrong values · missing" in text


def test_prose_is_not_broken_where_a_terminal_breaks_it() -> None:
    """A paragraph fits any width; samples stay a table, and figures stay apart."""
    long = "This sentence is longer than a terminal's line is wide, and so it goes on in the next one, which hangs."
    case = replace(samples.WRONG_CASE, diagnosis=Diagnosis("tail", long))
    page = page_of(handed(replace(samples.wrong_values(), cases=(*samples.CORRECT, case))))
    assert f"<p><strong>Likely cause: </strong>{long}</p>" in page
    assert "<pre>index   expected  got\n[1018]       0.5  nan\n" in page
    assert "<p>3 of 4 cases right</p>" in page


def test_command_writes_a_page_a_student(tmp_path: Path) -> None:
    """And says how many, and where; --json says whose is which."""
    record = made_record(tmp_path / "hw1", made_assignment())
    sample_record.write_record(record, sample_record.HOMEWORK)
    ran = CliRunner().invoke(cli.app, ["classroom", "feedback", str(record.folder)])
    assert ran.exit_code == 0
    assert "3 pages" in ran.output
    assert len(list((record.folder / "feedback").iterdir())) == 4
    command = ["classroom", "feedback", str(record.folder), "--out", str(tmp_path / "pages"), "--json"]
    answer = json.loads(CliRunner().invoke(cli.app, command).output)
    assert [page["submission"] for page in answer["pages"]] == ["ada", "bob", "Émile Čapek"]
    assert all("<title>Homework 1: " in Path(page["path"]).read_text() for page in answer["pages"])


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A headless browser."""
    if PROGRAM is None:
        pytest.skip("no Chromium here")
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


def test_pages_in_a_browser(browser: Chromium, tmp_path: Path) -> None:
    """On a phone and on a desk: no complaint, no request but for the page itself, and nothing sticks out sideways."""
    assignment = made_assignment()
    failed = {"ex_01": samples.wrong_values(), "ex_02": samples.timed_apart()}
    students = (made_student(assignment, "ada", failed), hostile_student(assignment, 40))
    for name, page in feedback_pages(made_record(tmp_path, assignment, *students)).items():
        path = tmp_path / name
        path.write_text(page, encoding="utf-8")
        for width, scheme in ((375, "dark"), (1280, "light")):
            browser.complaints.clear()
            browser.requested.clear()
            browser.open(path.as_uri(), width=width, scheme=scheme)
            assert browser.complaints == []
            assert browser.requested == [path.as_uri()]
            assert browser.value("document.documentElement.scrollWidth") <= width
            assert browser.value("getComputedStyle(document.body).backgroundColor") == (
                "rgb(15, 18, 22)" if scheme == "dark" else "rgb(255, 255, 255)"
            )


@pytest.mark.parametrize("made", [samples.wrong_values, samples.too_much_work, samples.banned_call])
def test_failure_in_a_hidden_case_tells_its_kind_alone(made: Callable[[], Report]) -> None:
    """The open check passed; of the hidden one, its own report stays with the instructor."""
    assignment = made_assignment(n_hidden_seeds=1)
    hidden = replace(made(), stdout="n is 4321", message=made().message and "n is 4321")
    opened = replace(samples.provisional(), stdout="hello")
    student = made_student(assignment, "ada", {"ex_01": told(opened, [hidden])})
    grades = {"ex_01": replace(student.grades["ex_01"], hidden=(hidden,))}
    text = text_of(replace(student, grades=grades), assignment)
    assert f"✗ {str(hidden.outcome).lower().replace('_', ' ')}" in text
    assert [secret for secret in ("4321", "1018", "offset", "Hint:", "Only the last") if secret in text] == []
