"""A Report as text. The golden files hold whole pages; the other tests state one rule each."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sample_reports as samples
from golden_files import assert_golden

from gpuprep.model import CardState, Case, CaseResult, Outcome, Report, Sample, Tier, TierResult
from gpuprep.render.report import MAX_SAMPLES, next_command, report_page, summary_page

REPORTS = {
    "provisional": samples.provisional(),
    "gold": samples.timed(),
    "passed": samples.timed(0.85),
    "too_slow": samples.timed(0.61),
    "inconclusive": samples.timed(0.801),
    "operations_gold": samples.timed_apart(0.981, 0.97),
    "operations_too_slow": samples.timed_apart(),
    "operation_not_timed": samples.timed_apart(0.981, 0.9, "no memory for scan"),
    "wrong_values": samples.wrong_values(),
    "too_much_work": samples.too_much_work(),
    "race": samples.race(),
    "banned_call": samples.banned_call(),
    "compile_failed": samples.compile_failed(),
    "not_started": samples.without_cases(Outcome.NOT_STARTED),
    "grader_fault": samples.without_cases(Outcome.GRADER_FAULT, "graders/ex_01.py: ValueError: bad shape"),
    "skipped": samples.without_cases(Outcome.SKIPPED, "nothing could be graded here: the file needs a GPU"),
}


def text_of(report: Report, **more: bool) -> str:
    return report_page(report, samples.EXERCISE, **more).text()


@pytest.mark.parametrize("name", REPORTS)
def test_golden_page(name: str) -> None:
    """Each kind of report reads as its golden file says."""
    assert_golden(f"report_{name}", text_of(REPORTS[name]))


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_order_of_a_page(report: Report) -> None:
    """The first line names the exercise and the verdict, the second the file, the last one command."""
    lines = text_of(report).splitlines()
    assert "ex_01 Vector add" in lines[0]
    assert report.outcome.value in lines[0]
    assert samples.PATH in lines[1]
    assert lines[-1].startswith("next: gpuprep ")


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_fits_80_columns(report: Report) -> None:
    """No line of a usual report is longer than 80 columns, and none ends in blanks."""
    lines = text_of(report).splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line == line.rstrip() for line in lines)


def test_each_operation_has_its_own_mark() -> None:
    """Operations that were timed apart stand below each other, the one that is too slow marked as such."""
    lines = [line.strip() for line in text_of(samples.timed_apart()).splitlines()]
    assert any(line.startswith("speed") and "★ add  n=268435456" in line for line in lines)
    assert any(line.startswith("✗ total  n=268435456") for line in lines)


def test_spoilt_operations_say_why() -> None:
    """Where the card slowed down, no operation shines, and the reason stands below them."""
    report = samples.timed_apart(0.981, 0.97)
    card = CardState(is_spoiled=True, throttling=("thermal limit (hardware)",))
    tiers = (*report.tiers[:2], TierResult(Tier.SPEED, Outcome.INCONCLUSIVE, "the card was slowing itself down"))
    timings = tuple(replace(timing, card=card) for timing in report.timings)
    text = text_of(replace(report, outcome=Outcome.INCONCLUSIVE, message="hot", tiers=tiers, timings=timings))
    assert [line.split()[:2] for line in text.splitlines() if "◌" in line][1:] == [
        ["speed", "◌"],
        ["◌", "total"],
        ["◌", "the"],
    ]
    assert "★" not in text


def test_provisional_is_not_passed() -> None:
    """A provisional pass never says PASSED, and says what was not graded and why."""
    text = text_of(samples.provisional())
    assert "PASSED" not in text
    assert "speed not graded (no GPU found)" in text


def test_time_says_who_agreed_to_it() -> None:
    """Once, beside what it was measured on: a replay, the grader's clock, or nobody."""
    report = samples.trusted()
    audited = replace(report, timings=tuple(replace(timing, replayed_ms=None) for timing in report.timings))
    unaudited = replace(report, timings=tuple(replace(timing, net_ms=None) for timing in audited.timings))
    ends = [text_of(each).split("n=268435456 float32")[-1].partition("\n")[0] for each in (report, audited, unaudited)]
    assert ends == [", witnessed", "", ", unaudited"]


def test_required_speed_is_said() -> None:
    """A provisional pass under --require speed says that it does not count."""
    assert "Not passed: no speed" in text_of(samples.provisional(), unmet="no speed")
    assert "not passed" not in text_of(samples.provisional())


def test_samples_are_capped() -> None:
    """At most five wrong elements are listed, then how many more there are."""
    text = text_of(samples.wrong_values())
    assert sum(line.strip().startswith("[") for line in text.splitlines()) == MAX_SAMPLES
    assert "… 2 more" in text


def test_close_samples_are_told_apart() -> None:
    """Expected and got are shown with enough digits to differ."""
    close = replace(samples.WRONG_CASE, samples=(Sample((0,), 1.0, 1.0 + 2**-30),))
    text = text_of(replace(samples.wrong_values(), cases=(close,)))
    assert "1.000000001" in text or "1.00000000093" in text


def test_scalar_output_has_an_empty_index() -> None:
    """A sample of a 0-dimensional output is shown without an index."""
    scalar = replace(samples.WRONG_CASE, samples=(Sample((), 1.0, 2.0),), n_wrong=1, n_total=1)
    assert "[]" in text_of(replace(samples.wrong_values(), cases=(scalar,)))


def test_learners_output_is_the_end_of_it() -> None:
    """Of what the learner's code printed, the last lines are shown, and that there were more."""
    text = text_of(samples.wrong_values())
    assert "the end of it" in text
    assert "| line 12" in text
    assert "| line 2\n" not in text


def test_control_characters_never_get_through() -> None:
    """Escape sequences in messages, source lines or output reach no terminal."""
    evil = "\x1b[2J\x1b]0;owned\x07\x9b31mred\rover"
    report = replace(samples.wrong_values(), stdout=evil, cases=(replace(samples.WRONG_CASE, message=evil),))
    assert not set(text_of(report)) & {"\x1b", "\x07", "\x9b", "\r"}


def test_display_writes_every_path() -> None:
    """The graded file and the source line are written by the caller's display."""
    text = report_page(samples.wrong_values(), samples.EXERCISE, display=lambda path: f"~/{path}").text()
    assert f"graded  ~/{samples.PATH}" in text
    assert f"~/{samples.PATH}:31" in text


def test_budget_is_told_once() -> None:
    """A budget that the message already explains is not explained again."""
    failed = samples.too_much_work().cases[-1]
    told = replace(failed, message=f"393216 is too much ({samples.BUDGETS[0].why})")
    text = text_of(replace(samples.too_much_work(), cases=(*samples.CORRECT, told)))
    assert text.count("x and y once each") == 1


def test_cases_are_counted_by_device() -> None:
    """Cases that ran on two devices are counted apart, skipped ones named."""
    case = Case({"n": 7, "dtype": "float32"})
    on_card = CaseResult(case, "cuda", Outcome.PASSED)
    skipped = CaseResult(case, "cpu", Outcome.SKIPPED, "the interpreter can't follow")
    report = replace(samples.timed(), cases=(*samples.CORRECT, skipped, on_card, samples.WORKED))
    assert "3 of 4 cases right on cpu (1 skipped), 1 of 1 case right on cuda" in text_of(report)


@pytest.mark.parametrize(
    ("report", "command"),
    [
        (samples.provisional(), "gpuprep next"),
        (samples.without_cases(Outcome.NOT_STARTED), "gpuprep open ex_01"),
        (samples.wrong_values(), "gpuprep hint ex_01"),
        (samples.without_cases(Outcome.GRADER_FAULT), "gpuprep doctor"),
        (samples.timed(0.801), "gpuprep check ex_01"),
    ],
)
def test_next_command(report: Report, command: str) -> None:
    """The last line is the command that helps most after that outcome."""
    assert next_command(report, samples.EXERCISE) == command


def test_a_raised_case_can_be_run_again() -> None:
    """After an exception in a case, the next command writes that case out for the debugger."""
    raised = CaseResult(samples.CORRECT[0].case, "cpu", Outcome.RAISED, "ValueError: no")
    assert next_command(Report("ex_01", Outcome.RAISED, cases=(raised,)), samples.EXERCISE) == "gpuprep repro ex_01"


def test_summary() -> None:
    """Several checks end in a table: glyph, id, title, word, and the counts."""
    graded = [(samples.EXERCISE, report) for report in (samples.timed(), samples.provisional(), samples.wrong_values())]
    assert_golden("report_summary", summary_page(graded, unmet=True).text())


def test_every_tier_is_shown() -> None:
    """Each tier of the report has its line, skipped ones with their reason."""
    lines = text_of(samples.provisional()).splitlines()
    for tier in Tier:
        assert any(line.strip().startswith(tier.value) for line in lines)
    assert any("not graded: no GPU found" in line for line in lines)
