"""A class in each gradebook's format: valid by that format's own rules, whatever a student called or printed."""

from __future__ import annotations

import base64
import csv
import functools
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import junitparser
import lxml.etree
import pytest
import sample_reports as samples
from sample_class import ASSIGNMENT, BIG, NASTY_NAME, broken, every_kind, handed_in, made_class

from gpuprep.classroom.assignment import Assigned, Assignment
from gpuprep.classroom.hidden import told
from gpuprep.classroom.journal import FILE_NAME, Journal
from gpuprep.classroom.places import places
from gpuprep.classroom.record import ClassRecord, Student
from gpuprep.classroom.scoring import Fate
from gpuprep.errors import UsageError
from gpuprep.model import Case, CaseResult, Outcome, Tier
from gpuprep.render.finding_words import WHAT
from gpuprep.render.gradebooks import (
    autograding,
    classroom50,
    exercism,
    github,
    gradescope,
    junit,
    lms_csv,
    prairielearn,
)
from gpuprep.render.gradebooks.formats import chosen, of_github, rendered
from gpuprep.render.gradebooks.standing import Standing, standing

SCHEMAS = Path(__file__).parent / "schemas"
RUNNER = {
    "CLASSROOM": "gpu-2026",
    "ASSIGNMENT": "hw1",
    "ASSIGNMENT_TYPE": "individual",
    "OWNER": "ada",
    "SUBMISSION_TAG": "submit/2026-03-01T00-00-00Z-a1b2c3d",
    "COMMIT_URL": "https://github.com/o/r/commit/a1b2c3d",
    "RELEASE_URL": "https://github.com/o/r/releases/tag/submit",
    "REVIEW_URL": "https://github.com/o/r/compare/0...1",
}
NAMES = [student.noted.name for student in every_kind().students]
OF_ONE = ("gradescope", "classroom50", "prairielearn", "exercism")
HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@functools.cache
def standings() -> dict[str, Standing]:
    """The sample class, by name."""
    record = every_kind()
    return {student.noted.name: standing(record, student) for student in record.students}


def one(*students: Student, assignment: Assignment = ASSIGNMENT) -> Standing:
    """A class's only submission."""
    return standing(made_class(*students, assignment=assignment), students[0])


def document(found: Standing, name: str) -> dict[str, Any]:
    """One of the JSON formats, read back."""
    read = json.loads(rendered(found.record, name, [found], RUNNER))
    assert isinstance(read, dict)
    return read


def texts(value: object) -> Iterator[str]:
    """Every text in a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            # This one is for scripts, to find a submission again: no page shows it.
            if key != "submission":
                yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def validate(content: object, name: str) -> None:
    """Hold a document against its format's schema."""
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(content)


@pytest.mark.parametrize("format_name", OF_ONE)
@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:6])
def test_json_is_valid_and_harmless(name: str, format_name: str) -> None:
    """Every kind of submission fits the schema, and no text of it moves a cursor or turns a line around."""
    text = rendered(every_kind(), format_name, [standings()[name]], RUNNER)
    content = json.loads(text, parse_constant=lambda constant: pytest.fail(constant))
    validate(content, format_name)
    assert [found for found in texts(content) if HARMFUL.search(found)] == []
    assert len(text) < 200_000


def test_gradescope_counts_only_what_was_graded() -> None:
    """A pending tier has neither points nor a status; what it is stands in its text."""
    results = document(standings()["pending"], "gradescope")
    pending = [test for test in results["tests"] if "status" not in test]
    assert [test["name"] for test in pending] == ["ex_01 Vector add: speed", "ex_02 Reduction: speed"]
    assert all("score" not in test and "max_score" not in test for test in pending)
    assert all("counts neither for nor against you" in test["output"] for test in pending)
    assert results["score"] == pytest.approx(2.0)
    assert "2 of 2 points" in results["output"]
    assert "ex_01 speed, ex_02 speed" in results["output"]


def test_gradescope_leaves_lateness_to_gradescope() -> None:
    """Its own policy would take the points twice; the days are told."""
    found = standings()["late"]
    results = gradescope.results(found)
    assert results["score"] == pytest.approx(found.points) != found.row.score
    assert results["extra_data"]["days_late"] == 2
    assert "2 days late; these points are before any penalty" in results["output"]
    assert results["stdout_visibility"] == "hidden"


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:6])
def test_gradescope_tests_add_up(name: str) -> None:
    """The points of the tests are those of the whole."""
    results = document(standings()[name], "gradescope")
    assert sum(test.get("score", 0) for test in results["tests"]) == pytest.approx(results["score"], abs=1e-5)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:6])
def test_classroom50_adds_up(name: str) -> None:
    """Integers, no score above its maximum, and nothing lost by rounding."""
    found = standings()[name]
    content = document(found, "classroom50")
    assert all(0 <= test["score"] <= test["max-score"] for test in content["tests"])
    assert sum(test["max-score"] for test in content["tests"]) == content["max-score"]
    assert content["max-score"] == pytest.approx(100 * found.row.max_score, abs=1)
    assert content["score"] == pytest.approx(100 * found.row.score, abs=2)
    assert content["score"] <= content["max-score"]


def test_classroom50_shares_hundredths_without_losing_any() -> None:
    """Three tiers of one point are 33, 34 and 33; a full score is the whole weight."""
    found = standings()["gold"]
    content = document(found, "classroom50")
    assert [test["max-score"] for test in content["tests"]] == [67, 66, 67, 33, 34, 33]
    assert (content["score"], content["max-score"]) == (300, 300)


def test_classroom50_takes_off_what_being_late_costs() -> None:
    """Its collector only marks what is late: the total has it, the tests don't."""
    content = document(standings()["late"], "classroom50")
    won = sum(test["score"] for test in content["tests"])
    assert (won, content["score"]) == (200, 160)


def test_classroom50_leaves_out_what_is_pending() -> None:
    """A test can only pass or fail there. Where nothing else is left it says so, since none at all is a success."""
    assert [test["passed"] for test in document(standings()["pending"], "classroom50")["tests"]] == [True] * 4
    lost = document(standings()["lost"], "classroom50")
    assert lost["max-score"] == 0
    assert [(test["passed"], test["max-score"]) for test in lost["tests"]] == [(False, 0)] * 6
    assert all("to be graded again" in test["test-name"] for test in lost["tests"])


def test_classroom50_needs_its_runner() -> None:
    """Without it nobody can say whose repository this is."""
    with pytest.raises(UsageError, match="SUBMISSION_TAG"):
        classroom50.result(standings()["gold"], {**RUNNER, "SUBMISSION_TAG": ""})


def test_prairielearn_scores_what_was_graded() -> None:
    """A share from 0 to 1; what is pending is 0 of 0, which is shown as neither right nor wrong."""
    results = document(standings()["pending"], "prairielearn")
    assert (results["gradable"], results["score"]) == (True, 1.0)
    assert [test["max_points"] for test in results["tests"]].count(0.0) == 2


def test_prairielearn_takes_no_attempt_for_the_graders_fault() -> None:
    """Where nothing was graded, the submission is not gradable."""
    results = prairielearn.results(standings()["lost"])
    assert results["gradable"] is False
    assert "through no fault" in results["format_errors"][0]


def test_prairielearn_stays_below_its_limit() -> None:
    """1 MB, however much there is to tell, and however many bytes JSON needs for it."""
    exercises = [Assigned(replace(samples.EXERCISE, id=f"ex_{number:02}")) for number in range(60)]
    assignment = Assignment("Everything", tuple(exercises))
    reports = {each.id: broken("💥" * 5000, "💥" * 5000) for each in exercises}
    found = one(handed_in("ada", reports, assignment), assignment=assignment)
    assert len(rendered(found.record, "prairielearn", [found], {}).encode()) < 1_000_000


@pytest.mark.parametrize(
    ("name", "status"),
    [
        *(("gold", "pass"), ("pending", "pass"), ("wrong", "fail"), ("rerun", "fail"), ("lost", "error")),
        *(("uncompiled", "error"), ("absent", "error"), ("stub", "fail")),
    ],
)
def test_exercism_status(name: str, status: str) -> None:
    """`error` only where no test ran at all; what is pending is no test."""
    results = exercism.results(standings()[name])
    assert results["status"] == status
    assert all(test["name"].endswith("speed") is False for test in results["tests"] if name == "pending")


def test_exercism_links_tests_to_tasks() -> None:
    """A task an exercise, by its place in the assignment."""
    results = exercism.results(standings()["wrong"])
    assert [test["task_id"] for test in results["tests"]] == [1, 1, 1, 2, 2, 2]


def test_exercism_output_says_that_it_was_cut() -> None:
    """500 characters, its notice among them."""
    found = one(handed_in("ada", {"ex_01": broken("no", "x" * 3000)}))
    (output,) = [test["output"] for test in exercism.results(found)["tests"] if "output" in test]
    assert len(output) == exercism.MAX_OUTPUT
    assert output.endswith("Please limit to 500 chars")


def test_exercism_gives_the_compiler_the_word() -> None:
    """The one thing that helps is in the message."""
    assert "SyntaxError: '(' was never closed" in exercism.results(standings()["uncompiled"])["message"]


def test_junit_is_what_ant_and_jenkins_take() -> None:
    """The whole class fits the schema, a suite a submission."""
    text = junit.document(list(standings().values()))
    schema = lxml.etree.XMLSchema(lxml.etree.parse(SCHEMAS / "junit.xsd"))
    schema.assertValid(lxml.etree.fromstring(text.encode()))
    assert HARMFUL.search(text) is None
    suites = list(junitparser.JUnitXml.fromstring(text.encode()))
    assert len(suites) == len(NAMES)
    assert [suite.name for suite in suites][:3] == ["gold", "pending", "late"]


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        *(("gold", (6, 0, 0, 0)), ("pending", (6, 0, 0, 2)), ("wrong", (6, 5, 0, 0)), ("rerun", (6, 0, 4, 0))),
        *(("lost", (6, 0, 6, 0)), ("absent", (2, 2, 0, 0))),
    ],
)
def test_junit_tells_failures_from_faults(name: str, counts: tuple[int, int, int, int]) -> None:
    """Failures are the student's, errors the grader's or the card's, and what is pending is skipped."""
    (suite,) = junitparser.JUnitXml.fromstring(junit.document([standings()[name]]).encode())
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == counts
    found = [result for case in suite for result in case.result]
    kinds = [junitparser.Failure, junitparser.Error, junitparser.Skipped]
    assert tuple(sum(isinstance(result, kind) for result in found) for kind in kinds) == counts[1:]
    points = {each.name: each.value for each in suite.properties()}
    assert float(points["score"]) == pytest.approx(standings()[name].row.score, abs=1e-4)


def test_csv_has_the_columns_that_canvas_wants() -> None:
    """A percentage of what could be graded, with what being late costs; empty where that is nothing."""
    first, *rows = csv.reader(io.StringIO(lms_csv.document("Homework 1", list(standings().values()))))
    assert first == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Homework 1"]
    grades = {row[3]: row[5] for row in rows}
    assert [grades[name] for name in ("gold", "pending", "absent", "lost", "rerun")] == ["100", "100", "0", "", "100"]
    assert grades["late"] == "68.57"  # 2 of 2.3333, two days at a tenth each
    assert grades["wrong"] == "11.11"


@pytest.mark.parametrize("name", ["=1+1", "@SUM(A1)", "+1", "-1", NASTY_NAME])
def test_csv_computes_nothing(name: str) -> None:
    """A spreadsheet would compute what a student called a folder; an assignment's title is no formula either."""
    found = one(handed_in(name, {}))
    header, row = csv.reader(io.StringIO(lms_csv.document("=1", [found])))
    assert header[5] == "'=1"
    assert row[0] == row[3]
    assert row[0].startswith("'")
    assert row[0].isprintable()


def _commands(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Commands as GitHub's runner reads them: a line that begins with `::`, up to the next `::`, then the text."""
    found = []
    for line in text.splitlines():
        assert "##[" not in line
        if not line.lstrip().startswith("::"):
            continue
        head, data = line.lstrip()[2:].split("::", 1)
        name, _, rest = head.partition(" ")
        pairs = [pair.partition("=") for pair in rest.split(",") if pair]
        properties = {key.strip(): _unescaped(value, (":", ",")) for key, _, value in pairs}
        found.append((name, properties, _unescaped(data)))
    return found


def _unescaped(text: str, more: tuple[str, ...] = ()) -> str:
    for char in ("\r", "\n", *more, "%"):
        text = text.replace(f"%{ord(char):02X}", char)
    return text


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:6])
def test_no_student_writes_a_workflow_command(name: str) -> None:
    """Each line is one of ours, with properties that we named; nothing of a student's begins a line."""
    text = github.commands(standings()[name], {})
    commands = _commands(text)
    assert len(commands) == len(text.splitlines())
    assert {kind for kind, _, _ in commands} <= {"error", "warning", "notice"}
    assert all(set(properties) <= {"title", "file", "line"} for _, properties, _ in commands)


def test_annotations_stand_beside_their_lines() -> None:
    """Where the file lies in the repository; what failed is an error, a rerun a warning, what is pending a notice."""
    path = "src/homework/ex_01_vector_add.py"
    found = _commands(github.commands(standings()["wrong"], {"ex_01_vector_add.py": path}))
    assert [kind for kind, _, _ in found] == ["error", "error", "notice"]
    _, properties, text = found[0]
    assert (properties["file"], properties["line"]) == (path, "31")
    assert properties["title"] == "ex_01 Vector add: correct: wrong values"
    assert "n=1025 float32 offset" in text
    assert [kind for kind, _, _ in _commands(github.commands(standings()["rerun"], {}))].count("warning") == 4
    assert found[-1][2] == "0.3333 of 3 points."


def test_summary_tells_what_being_late_costs() -> None:
    """And what is pending; only what was lost has details."""
    text = github.summary(standings()["late"])
    assert "## Homework 1: 1.6 of 2.3333 points" in text
    assert "2 days late: 80% of the points count." in text
    assert re.findall("^### (.*)", text, re.MULTILINE) == [r"ex\_02 Reduction: speed: too slow"]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:6])
def test_summary_is_only_text(name: str) -> None:
    """No HTML, no mention, no table cell and no end of a code block comes from a student."""
    text = github.summary(standings()[name])
    outside = []
    fence = ""
    for line in text.splitlines():
        ticks = re.match("`{3,}", line)
        if fence:
            fence = "" if line == fence else fence
        elif ticks:
            fence = ticks.group()
        else:
            outside.append(line)
    assert fence == ""
    assert HARMFUL.search(text) is None
    prose = "\n".join(outside)
    assert "<" not in prose
    assert re.search(r"@\w", prose) is None
    rows = [line for line in outside if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in rows} == {5}
    assert len(text.encode()) < 2**20


def _as_the_reporter_reads(result_line: str) -> dict[str, Any]:
    """What `autograding-grading-reporter` does with a step's output: Buffer.from(…, "base64"), then JSON.parse."""
    name, _, value = result_line.rstrip("\n").partition("=")
    assert name == "result"
    assert re.fullmatch("[A-Za-z0-9+/=]+", value)
    content = json.loads(base64.b64decode(value, validate=True).decode("utf-8"))
    assert isinstance(content, dict)
    return content


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:6])
def test_autograding_reporter_understands_the_result(name: str) -> None:
    """It sums scores, compares statuses, and divides by the number of tests."""
    found = standings()[name]
    content = _as_the_reporter_reads(of_github(found, {})[2])
    validate(content, "autograding")
    assert sum(test["score"] for test in content["tests"]) == pytest.approx(found.row.score, abs=1e-5)
    assert content["max_score"] == pytest.approx(found.row.max_score, abs=1e-5)
    n_passed = sum(test["status"] == "pass" for test in content["tests"])
    assert 0 <= n_passed / len(content["tests"]) * (content["max_score"] or 1) <= (content["max_score"] or 1)


@pytest.mark.parametrize(
    ("name", "status"),
    [("gold", "pass"), ("pending", "pass"), ("wrong", "fail"), ("lost", "error"), ("rerun", "pass")],
)
def test_autograding_status(name: str, status: str) -> None:
    """A step fails for what failed, and for a grader's fault only where nothing else was graded."""
    assert autograding.result(standings()[name])["status"] == status


@pytest.mark.parametrize("format_name", [*OF_ONE, "github", "junit", "csv"])
def test_nothing_of_a_hidden_case_leaks(format_name: str) -> None:
    """Neither its size, values and seed, nor words of the student's own that could carry one out."""
    assignment = replace(ASSIGNMENT, n_hidden_seeds=2)
    opened = replace(samples.provisional(), cases=(CaseResult(Case({"kind": "open"}), "cpu", Outcome.PASSED),))
    failures = (
        broken("n was 1025", "x[0] = 0.123"),
        samples.wrong_values(),
        samples.too_much_work(),
        samples.banned_call(),
        samples.race(),
    )
    students = [
        handed_in(f"s{place}", {"ex_01": told(opened, [found])}, assignment) for place, found in enumerate(failures)
    ]
    students.append(handed_in("lost", {"ex_01": "boom"}, assignment))
    record = made_class(*students, assignment=assignment)
    for student in students:
        only = [standing(record, student)]
        if format_name == "github":
            *shown, result = of_github(only[0], {"ex_01_vector_add.py": "a.py"})
            text = "".join(shown) + json.dumps(_as_the_reporter_reads(result))
        else:
            text = rendered(record, format_name, only, RUNNER)
        for secret in ("1025", "1018", "n=", "float32", "268435456", "32768", "393", "0.123", "987654321", "line 1"):
            assert re.search(rf"(?<!\w){re.escape(secret)}", text) is None, secret
        assert "tl.store" not in text
        assert "boom" not in text
        assert "srv" not in text


def test_hidden_failures_have_words() -> None:
    """Every way to fail can be told without naming a case."""
    assert {outcome for outcome in Outcome if outcome.is_failure} - set(WHAT) == {Outcome.INVALID}


def test_shown_cases_are_told() -> None:
    """Of an open case the student reads where it went wrong, without the paths of the grader's machine."""
    results = gradescope.results(one(handed_in("ada", {"ex_01": broken("n was 1025")})))
    told = results["tests"][0]["output"]
    assert "n=1025 float32" in told
    assert "n was 1025" in told
    assert "ex_01_vector_add.py:31" in told
    assert "/srv" not in json.dumps(results)


def test_failure_is_told_where_its_tier_counts_for_nothing() -> None:
    """An assignment of speed alone still says why there was none."""
    assignment = replace(ASSIGNMENT, exercises=(Assigned(samples.EXERCISE, 1.0, (Tier.SPEED,)),))
    (test,) = gradescope.results(
        one(handed_in("ada", {"ex_01": samples.wrong_values()}, assignment), assignment=assignment)
    )["tests"]
    assert "likely cause" in test["output"]
    assert test["status"] == "failed"


def test_long_texts_are_cut() -> None:
    """A megabyte of message is no reason to write one."""
    found = one(handed_in("ada", {"ex_01": broken(BIG, BIG)}))
    assert max(len(each.text) for each in found.findings) < 4100
    assert "…" in found.findings[0].text


@pytest.mark.parametrize("format_name", [*OF_ONE, "github"])
def test_one_submission_must_be_named_of_many(format_name: str) -> None:
    """The error says so, and names a command; of a class of one nobody needs to say which."""
    with pytest.raises(UsageError, match="is of one submission") as caught:
        chosen(every_kind(), format_name, None)
    assert caught.value.next_step.endswith("--submission gold")
    assert [each.name for each in chosen(every_kind(), format_name, "late")] == ["late"]
    only = made_class(handed_in("ada", {}))
    assert [each.name for each in chosen(only, format_name, None)] == ["ada"]


def test_unknown_submission_is_an_error() -> None:
    """With the command that lists them."""
    with pytest.raises(UsageError, match="no submission 'zoe'"):
        chosen(every_kind(), "junit", "zoe")


def test_class_formats_hold_the_class() -> None:
    """Or the one that was named."""
    assert len(chosen(every_kind(), "csv", None)) == len(NAMES)
    assert len(chosen(every_kind(), "junit", "gold")) == 1


def test_files_are_found_in_a_repository(tmp_path: Path) -> None:
    """By name, below the root; hidden folders aside, and nowhere where there are two."""
    for path in ("src/ex_01_vector_add.py", ".git/ex_01_vector_add.py", "a/ex_02_reduction.py", "b/ex_02_reduction.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    assert places(tmp_path, ASSIGNMENT) == {"ex_01_vector_add.py": "src/ex_01_vector_add.py"}


@pytest.fixture
def graded(tmp_path: Path) -> Path:
    """A class of two in a folder, as `gpuprep grade` leaves it."""
    record: ClassRecord = made_class(
        handed_in("ada", {"ex_01": samples.provisional()}), handed_in("bob", {"ex_01": samples.wrong_values()})
    )
    out = tmp_path / "out"
    out.mkdir()
    with Journal(out) as journal:
        noted = [student.noted for student in record.students]
        journal.begin(record.identity, noted, "title: Homework 1\nexercises: [ex_01]\n")
        for student in record.students:
            for grade in student.grades.values():
                journal.record(grade)
        journal.finish()
    assert (out / FILE_NAME).is_file()
    return out


def _results(graded: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gpuprep", "classroom", "results", str(graded), *arguments]
    names = {"PATH": "/usr/bin:/bin", "HOME": str(graded), "LC_ALL": "C.UTF-8", **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=graded, env=names)


def test_command_writes_a_file(graded: Path) -> None:
    """Read back from the journal, into the file that was named."""
    ran = _results(graded, "--format", "gradescope", "--submission", "bob", "--out", "sub/results.json")
    assert (ran.returncode, ran.stdout) == (0, "")
    content = json.loads((graded / "sub" / "results.json").read_text(encoding="utf-8"))
    validate(content, "gradescope")
    assert content["score"] == 0
    assert {Fate(test["tags"][-1]) for test in content["tests"]} == {Fate.LOST}


def test_command_serves_a_github_step(graded: Path) -> None:
    """Annotations on stdout; the summary and the result at the end of the files that the runner names."""
    (graded / "ex_01_vector_add.py").touch()
    (graded / "summary.md").write_text("before\n")
    named = {"GITHUB_STEP_SUMMARY": str(graded / "summary.md"), "GITHUB_OUTPUT": str(graded / "output")}
    ran = _results(graded, "--format", "github", "--submission", "bob", GITHUB_WORKSPACE=str(graded), **named)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("::error file=ex_01_vector_add.py,line=31,title=ex_01 Vector add%3A correct")
    assert (graded / "summary.md").read_text(encoding="utf-8").startswith("before\n## Homework 1: 0 of 1 points\n")
    assert _as_the_reporter_reads((graded / "output").read_text())["status"] == "fail"
