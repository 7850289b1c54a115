"""A Report as a page: the verdict, where it went wrong, what was measured, what to do next."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gpuprep.exercise import Exercise
from gpuprep.model import OTHER_ACCESS, OTHER_CALL, CaseResult, Outcome, Remark, Report, SourceLine
from gpuprep.render.figures import amount, paragraphs, wanted
from gpuprep.render.layout import INDENT, WIDTH, Page, Part, clean, counted, grouped
from gpuprep.render.marks import mark

MAX_SAMPLES = 5
MAX_REMARKS = 4
"""Warnings and notes that are shown."""
MAX_PRINTED_LINES = 10
"""Lines of the learner's own output that are shown."""
MAX_PRINTED_WIDTH = 200
"""Characters of each: enough for a traceback's longest line, not for a tensor printed in one."""

NOT_STARTED_TEXT = (
    "Nothing to grade yet: this is still the stub. Read the task at the top of the `.py`, and fill in the TODOs."
)

_LABEL_WIDTH = 9

Display = Callable[[str], str]
"""How a path is written: usually relative to where the person is."""

_WORKED = (Outcome.TOO_MUCH_WORK, Outcome.BANNED_CALL)


def report_page(
    report: Report, exercise: Exercise, *, display: Display = str, unmet: str = "", width: int = WIDTH
) -> Page:
    """One check.

    Args:
        report: what the check found.
        exercise: the exercise that was checked.
        display: writes a path.
        unmet: why a pass does not count as one, where more was required.
        width: columns to lay out for.
    """
    page = Page(width)
    glyph, style, _ = mark(report.outcome, is_gold=report.is_gold)
    title = f"{exercise.id} {exercise.title}  "
    page.prose(verdict(report), indent=0, lead=[(f"{glyph} ", style), (title, "strong")], style=style)
    page.line(("graded  ", "quiet"), display(report.path) or "nothing", indent=INDENT)
    _problem(page, report, display)
    _measured(page, report)
    _noticed(page, report, display)
    _printed(page, report)
    if unmet:
        page.blank()
        page.prose(f"Not passed: {unmet}.", style="warning")
    page.next_command(next_command(report, exercise))
    return page


def case_page(result: CaseResult, *, display: Display = str, width: int = WIDTH) -> Page:
    """One case that failed: what a report's page shows of the first of them."""
    page = Page(width)
    page.line((result.outcome.value, "bad"))
    _failure(page, result, display)
    return page


def verdict(report: Report) -> str:
    """The word for an outcome, and what a person must not miss about it."""
    words = {
        Outcome.PASSED: "PASSED, gold" if report.is_gold else "PASSED",
        Outcome.PROVISIONAL: f"PROVISIONAL pass: {_ungraded(report)}",
        Outcome.GRADER_FAULT: "GRADER_FAULT: the grader broke, not your code",
        Outcome.INVALID: "INVALID: needs review",
    }
    return words.get(report.outcome, report.outcome.value)


def summary_page(graded: Sequence[tuple[Exercise, Report]], *, unmet: bool = False, width: int = WIDTH) -> Page:
    """One line for each of several checks, and how many came to what."""
    page = Page(width)
    rows: list[list[Part]] = []
    counts: dict[str, int] = {}
    for exercise, report in graded:
        glyph, style, word = mark(report.outcome, is_gold=report.is_gold)
        counts[word] = counts.get(word, 0) + 1
        rows.append([(glyph, style), exercise.id, exercise.title, (word, style)])
    page.line((f"{counted(len(graded), 'exercise')} checked", "strong"))
    page.table(rows, "<<<<")
    page.line(", ".join(f"{n} {word}" for word, n in counts.items()), indent=INDENT)
    if unmet:
        page.prose("More was required (--require): some of these passes don't count.", style="warning")
    return page


def _ungraded(report: Report) -> str:
    skipped = [tier for tier in report.tiers if tier.outcome is Outcome.SKIPPED]
    return "; ".join(f"{tier.tier} not graded ({tier.reason})" for tier in skipped) or "not every tier was graded"


def _problem(page: Page, report: Report, display: Display) -> None:
    """What went wrong first. Nothing where nothing did."""
    if report.outcome.is_pass:
        return
    page.blank()
    if report.outcome is Outcome.NOT_STARTED and not report.first_failure:
        page.prose(NOT_STARTED_TEXT)
        return
    failure = report.first_failure
    if report.message and (failure is None or report.message != failure.message):
        page.prose(report.message)
    if report.where and (failure is None or report.where != failure.where):
        _source(page, report.where, display)
    if failure:
        _failure(page, failure, display)
        n_others = (
            sum(result.outcome.is_failure and result.case.tier is failure.case.tier for result in report.cases) - 1
        )
        if n_others:
            page.blank()
            page.prose(f"{counted(n_others, 'more case')} failed.", style="quiet")


def _failure(page: Page, failure: CaseResult, display: Display) -> None:
    page.prose("", lead=[("case    ", "quiet"), (failure.case.name, "strong"), f" on {failure.device}"])
    page.prose(failure.message)
    if failure.where:
        _source(page, failure.where, display)
    for remark in failure.remarks:
        _remark(page, remark, display)
    if failure.samples:
        page.blank()
        _samples(page, failure)
    _budgets(page, failure)
    if failure.diagnosis:
        page.blank()
        page.prose(failure.diagnosis.text, lead=[("likely cause: ", "strong")])


def _source(page: Page, where: SourceLine, display: Display) -> None:
    page.line((f"{display(where.path)}:{where.line}", "code"), indent=INDENT)
    if where.text.strip():
        page.verbatim(where.text.strip(), indent=3 * INDENT)


def _samples(page: Page, failure: CaseResult) -> None:
    rows: list[list[Part]] = [[("index", "quiet"), ("expected", "quiet"), ("got", "quiet")]]
    for sample in failure.samples[:MAX_SAMPLES]:
        index = f"[{', '.join(str(i) for i in sample.index)}]"
        rows.append([index, *_apart(sample.expected, sample.got)])
    page.table(rows, "<>>", indent=2 * INDENT)
    shown = min(len(failure.samples), MAX_SAMPLES)
    n_more = max(failure.n_wrong, len(failure.samples)) - shown
    told = [f"… {grouped(n_more)} more"] if n_more else []
    if failure.n_total and f"{failure.n_wrong} of {failure.n_total} " not in failure.message:
        share = _percent(failure.n_wrong / failure.n_total)
        told.append(f"{grouped(failure.n_wrong)} of {counted(failure.n_total, 'element')} wrong ({share})")
    if told:
        page.line(("; ".join(told), "quiet"), indent=2 * INDENT)


def _apart(expected: float, got: float) -> tuple[str, str]:
    """Both numbers, with as many digits as it takes to tell them apart."""
    for digits in (6, 9, 17):
        pair = f"{expected:.{digits}g}", f"{got:.{digits}g}"
        if pair[0] != pair[1]:
            break
    return pair


def _percent(share: float) -> str:
    return "< 0.1%" if 0 < share < 0.001 else f"{share:.1%}"


def _budgets(page: Page, failure: CaseResult) -> None:
    """The figures that are over or under their budget, and how each bound comes about."""
    if failure.outcome not in _WORKED or failure.work is None:
        return
    for budget in failure.budgets:
        value = budget.used(failure.work)
        if budget.least <= value <= budget.most or budget.why in failure.message:
            continue
        page.blank()
        page.line(
            (f"{budget.name}  ", "strong"),
            (amount(budget, value), "bad"),
            f" counted, {wanted(budget)}",
            indent=INDENT,
        )
        page.prose(budget.why, indent=2 * INDENT, style="quiet")


def _measured(page: Page, report: Report) -> None:
    """Some lines a tier: what was found, or why nothing was."""
    if not report.cases:
        return
    page.blank()
    for tier in report.tiers:
        name = tier.tier.value
        for paragraph in paragraphs(report, tier):
            glyph, style, _ = mark(paragraph.outcome, is_gold=paragraph.is_gold)
            lead: list[Part] = [(f"{name:<{_LABEL_WIDTH}}", "quiet"), (f"{glyph} ", style)]
            text, name = "\n".join(paragraph.lines), ""
            if paragraph.op:
                title, _, text = text.partition("\n")
                page.prose(title, lead=[*lead, (f"{paragraph.op}  ", "strong")])
                lead = [" " * (_LABEL_WIDTH + len(glyph) + 1)]
            page.prose(text, lead=lead)


def _noticed(page: Page, report: Report, display: Display) -> None:
    """What decides nothing and is worth knowing all the same, once each."""
    failure = report.first_failure
    others = [result for result in report.cases if result is not failure]
    told = [remark for result in others for remark in result.remarks if remark.text not in (OTHER_ACCESS, OTHER_CALL)]
    unique = {
        (remark.where or remark.text): remark for remark in told if failure is None or remark not in failure.remarks
    }
    for remark in list(unique.values())[:MAX_REMARKS]:
        page.blank()
        _remark(page, remark, display)


def _remark(page: Page, remark: Remark, display: Display) -> None:
    page.prose(remark.text, style="quiet")
    if remark.where:
        _source(page, remark.where, display)


def _printed(page: Page, report: Report) -> None:
    """The end of what the learner's code printed."""
    lines = clean(report.stdout).rstrip().splitlines()
    if not lines:
        return
    page.blank()
    n_hidden = max(0, len(lines) - MAX_PRINTED_LINES)
    page.line((f"your code printed{' (the end of it)' if n_hidden else ''}:", "quiet"), indent=INDENT)
    for row in lines[-MAX_PRINTED_LINES:]:
        shown = row if len(row) <= MAX_PRINTED_WIDTH else f"{row[:MAX_PRINTED_WIDTH]} …"
        page.line(("| ", "quiet"), shown, indent=2 * INDENT)


def next_command(report: Report, exercise: Exercise) -> str:
    """The one command that helps most after this outcome."""
    outcome, name = report.outcome, exercise.id
    if outcome.is_pass:
        return "gpuprep next"
    if outcome in (Outcome.GRADER_FAULT, Outcome.SKIPPED):
        return "gpuprep doctor"
    if outcome in (Outcome.INVALID, Outcome.INCONCLUSIVE):
        return f"gpuprep check {name}"
    if outcome in (Outcome.NOT_STARTED, Outcome.COMPILE_FAILED, Outcome.WRONG_SIGNATURE):
        return f"gpuprep open {name}"
    is_alone = exercise.language != "distributed"
    stopped = (Outcome.RAISED, Outcome.CRASHED, Outcome.TIMED_OUT, Outcome.DEADLOCK)
    if outcome in stopped and report.first_failure and is_alone:
        return f"gpuprep repro {name}"
    return f"gpuprep hint {name}"
