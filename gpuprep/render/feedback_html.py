"""A student's feedback as one HTML page, and the instructor's list of them.

What a student may read is decided in `findings` alone; this lays it out. Beside the findings stand what is public: the
assignment's titles, points and dates, and the curriculum's hints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from xml.etree.ElementTree import Element

from gpuprep.classroom.assignment import Assigned
from gpuprep.classroom.feedback import INDEX, file_names
from gpuprep.classroom.record import ClassRecord, Student
from gpuprep.classroom.scoring import MISSING, ExerciseScore, Fate, points
from gpuprep.exercise import Exercise
from gpuprep.model import Tier
from gpuprep.render.classroom import outcome_mark
from gpuprep.render.findings import MAX_TEXT, Finding, findings, plain
from gpuprep.render.html_page import Child, el, notes, page, scrolls, with_code
from gpuprep.render.layout import counted
from gpuprep.render.marks import Mark
from gpuprep.render.report import next_command

MAX_NAME = 200
"""Characters of a submission's name."""
STYLES = ("report.css", "feedback.css")
_MARKS = {
    Fate.WON: Mark("✓", "good", ""),
    Fate.LOST: Mark("✗", "bad", ""),
    Fate.PENDING: Mark("◐", "provisional", ""),
    Fate.RERUN: Mark("◌", "warning", ""),
}
_TEXT_WIDTH = 78
"""Columns that a finding's prose was broken at: a line goes on in the next one if that one's first word had no room."""
_CAUSE = "likely cause: "


def feedback_pages(record: ClassRecord) -> dict[str, str]:
    """Every student's page and the instructor's, by file name."""
    names = file_names(student.noted.name for student in record.students)
    made = {names[student.noted.name]: feedback_html(record, student) for student in record.students}
    return {**made, INDEX: index_html(record, names)}


def feedback_html(record: ClassRecord, student: Student) -> str:
    """A student's page."""
    title = plain(record.assignment.title, MAX_NAME)
    found = findings(student, record.assignment)
    exercises = {assigned.id: assigned for assigned in record.assignment.exercises}
    scores = {score.exercise_id: score for score in student.row.scores}
    articles = [
        _article(exercises[exercise_id], scores[exercise_id], list(own), record.files.get(exercise_id, ()))
        for exercise_id, own in groupby(found, key=lambda finding: finding.exercise_id)
    ]
    return page(
        f"{title}: {_name(student)}",
        _header(student, title),
        el("main", _summary(student, found), *articles),
        _footer(record),
        styles=STYLES,
    )


def index_html(record: ClassRecord, names: Mapping[str, str]) -> str:
    """The instructor's list: every submission with its points, and where its page is."""
    title = plain(record.assignment.title, MAX_NAME)
    ids = [assigned.id for assigned in record.assignment.exercises]
    figures = ("Points", "Of")
    names_of = ("Submission", *figures, *ids, "Pending", "Rerun", "Days late")
    heads = [el("th", head, scope="col", kind="points" if head in figures else "") for head in names_of]
    rows = []
    for student in record.students:
        row = student.row
        link = el("a", el("bdi", _name(student)), href=names[student.noted.name])
        outcomes = [el("td", _marked(outcome_mark(score.outcome))) for score in row.scores]
        rest = (row.named(Fate.PENDING), row.named(Fate.RERUN), str(row.n_days_late or ""))
        totals = [el("td", points(value), kind="points") for value in (row.score, row.max_score)]
        cells = (*totals, *outcomes, *(el("td", text) for text in rest))
        rows.append(el("tr", el("th", link, scope="row"), *cells))
    table = el("table", el("thead", el("tr", *heads)), el("tbody", *rows))
    return page(
        f"{title}: feedback",
        el(
            "header",
            el("h1", title),
            el("p", f"{counted(len(rows), 'submission')}. This list is yours: give each student their own page alone."),
        ),
        el("main", scrolls(table, "Submissions")),
        styles=STYLES,
    )


def _header(student: Student, title: str) -> Element:
    row = student.row
    tiles = [("points", f"{points(row.score)} of {points(row.max_score)}")]
    if row.pending_points:
        tiles.append(("points not graded yet", points(row.pending_points)))
    if row.n_days_late:
        tiles.append(("late", counted(row.n_days_late, "day")))
    remarks = [plain(note, MAX_TEXT) for note in row.notes]
    if row.pending_points:
        remarks.append("What is not graded yet counts neither in your points nor in what could be had.")
    if row.n_days_late:
        earned = sum(score.points for score in row.scores)
        remarks.append(f"Handed in late: {row.kept:.0%} of the {points(earned)} points that you earned are kept.")
    submitted = student.noted.submitted.strftime("%Y-%m-%d %H:%M UTC")
    return el(
        "header",
        el("h1", title),
        el("p", el("bdi", _name(student)), f", handed in {submitted}"),
        el("div", *(el("div", el("strong", value), el("span", what)) for what, value in tiles), kind="tiles"),
        notes(remarks),
    )


def _summary(student: Student, found: tuple[Finding, ...]) -> Element:
    """A row an exercise, a column a tier."""
    tiers = [tier for tier in Tier if any(finding.tier is tier for finding in found)]
    heads = [el("th", text, scope="col") for text in ("Exercise", *map(str.capitalize, tiers))]
    heads.append(el("th", "Points", scope="col", kind="points"))
    rows = []
    for score in student.row.scores:
        own = {finding.tier: finding for finding in found if finding.exercise_id == score.exercise_id}
        title = next(finding.title for finding in own.values())
        link = el("a", f"{score.exercise_id} {title}", href=f"#{score.exercise_id}")
        whole = own.get(None)
        cells = [el("td", _fate(whole), colspan=str(max(1, len(tiers))))] if whole else []
        cells += [el("td", _fate(own[tier]) if tier in own else "–") for tier in tiers if not whole]
        if not tiers and whole:
            cells, heads = [el("td", _fate(whole))], [heads[0], el("th", "Outcome", scope="col"), heads[-1]]
        rows.append(el("tr", el("th", link, scope="row"), *cells, el("td", _of(score), kind="points")))
    table = el("table", el("thead", el("tr", *heads)), el("tbody", *rows))
    return el("section", el("h2", "Your exercises"), scrolls(table, "Your exercises"))


def _article(assigned: Assigned, score: ExerciseScore, found: list[Finding], file_names: Sequence[str] = ()) -> Element:
    exercise = assigned.exercise
    printed = next((finding.printed for finding in found if finding.printed.strip()), "")
    return el(
        "article",
        el("h3", f"{exercise.id} {exercise.title} ", el("small", f"points: {_of(score)}")),
        el("p", *with_code(exercise.summary), kind="quiet"),
        *_tiers(found),
        _next(exercise, score, file_names),
        el("details", el("summary", "What your code printed"), el("pre", printed)) if printed else None,
        id=exercise.id,
    )


def _tiers(found: list[Finding]) -> list[Element]:
    """A section for each tier; one for several where there is the same to say of them."""
    made = []
    for _, same in groupby(found, key=lambda finding: (finding.fate, finding.headline, finding.text)):
        own = list(same)
        name = ", ".join(str(finding.tier) for finding in own if finding.tier).capitalize() or "All of it"
        pending = sum(finding.pending_points for finding in own)
        most = sum(finding.max_points for finding in own)
        worth = _worth(sum(finding.points for finding in own), most, pending)
        heading = el("h4", f"{name}: ", _fate(own[0]), " ", el("small", worth))
        made.append(el("section", heading, *_text(own[0].text), _cut(own[0].text), kind="tier"))
    return made


def _text(text: str) -> list[Element]:
    """Prose as paragraphs that fit any width; tables and source lines as they are."""
    made: list[tuple[str, list[str]]] = []
    last = ""
    for line in text.splitlines():
        first = line.split(maxsplit=1)[:1]
        if first and made and made[-1][0] == "p" and last and len(last) + 1 + len(first[0]) > _TEXT_WIDTH:
            made[-1][1].append(line.strip())
        elif line.startswith("  ") and made and made[-1][0] == "pre" and last:
            made[-1][1].append(line)
        elif first:
            made.append(("pre", [line]) if line.startswith("  ") else ("p", [" ".join(line.split())]))
        last = line.rstrip()
    return [el("pre", _outdented(lines)) if tag == "pre" else _paragraph(" ".join(lines)) for tag, lines in made]


def _paragraph(text: str) -> Element:
    if text.startswith(_CAUSE):
        return el("p", el("strong", _CAUSE.capitalize()), text.removeprefix(_CAUSE))
    return el("p", text)


def _outdented(lines: list[str]) -> str:
    margin = min(len(line) - len(line.lstrip()) for line in lines)
    return "\n".join(line[margin:] for line in lines)


def _next(exercise: Exercise, score: ExerciseScore, file_names: Sequence[str]) -> Element | None:
    """What to do about a failure: the hint that answers it, and the command that says more."""
    if score.outcome == MISSING:
        first, *more = file_names or (f"{exercise.slug}.py",)
        told: list[Child] = ["Hand in a file of the name ", el("code", first)]
        for name in more:
            told += [", and with it ", el("code", name)]
        return el("div", el("p", *told, "."), kind="next")
    report = score.report
    if report is None or not report.outcome.is_failure:
        return None
    failure = report.first_failure
    diagnosis = failure.diagnosis.id if failure and failure.diagnosis else ""
    answers = [hint for hint in exercise.hints if diagnosis in hint.diagnoses]
    commands = dict.fromkeys((f"gpuprep check {exercise.id}", next_command(report, exercise)))
    parts: list[Child] = ["On your own machine: "]
    for command in commands:
        parts += [", then " if len(parts) > 1 else "", el("code", command)]
    return el(
        "div",
        el("p", el("strong", "What to do next")),
        *(el("p", "Hint: ", *with_code(hint.text)) for hint in answers[:1]),
        el("p", *parts, "."),
        kind="next",
    )


def _footer(record: ClassRecord) -> Element:
    texts = (
        f"Graded with gpuprep {record.identity.gpuprep}. An exercise's points are shared evenly among its tiers.",
        "A check ends at the first tier that fails; what comes after it is not reached, and has no points.",
    )
    return el("footer", el("h2", "How this was graded"), *(el("p", text) for text in texts))


def _fate(finding: Finding) -> Element:
    found = _MARKS[finding.fate]
    if finding.is_unreached:
        found = Mark("–", "quiet", "")
    return _marked(found._replace(word=finding.headline))


def _marked(found: Mark) -> Element:
    return el("span", f"{found.glyph} {found.word}", kind=f"mark {found.style}")


def _cut(text: str) -> Element | None:
    """Said where a text was longer than a page should hold."""
    is_cut = text.endswith("…") and len(text) > MAX_TEXT // 2
    return el("p", f"Cut here: only the first {MAX_TEXT} characters are shown.", kind="quiet") if is_cut else None


def _of(score: ExerciseScore) -> str:
    return _worth(score.points, score.max_points, score.pending_points)


def _worth(won: float, most: float, pending: float) -> str:
    """`1 of 2`, and what is still to be graded."""
    told = [f"{points(won)} of {points(most)}"] if most or not pending else []
    return ", ".join([*told, *([f"{points(pending)} to be graded"] if pending else [])])


def _name(student: Student) -> str:
    return plain(student.noted.name, MAX_NAME).replace("\n", " ")
