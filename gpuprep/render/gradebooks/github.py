"""GitHub Actions: annotations as workflow commands, and a summary of the step in Markdown.

The runner takes whatever a step prints at the start of a line for a command to it. What a student wrote stands inside a
command's own text here, escaped, and never begins a line.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

from gpuprep.classroom.scoring import Fate, points
from gpuprep.render.findings import Finding
from gpuprep.render.gradebooks.standing import Standing, of_points, one_line

MAX_DETAILS = 400_000
"""Characters of details in a summary: GitHub takes 1 MiB a step, and a character may have three bytes."""
_KINDS = {Fate.LOST: "error", Fate.RERUN: "warning", Fate.PENDING: "notice"}
_MARKS = {Fate.WON: "✅", Fate.LOST: "❌", Fate.PENDING: "⏳", Fate.RERUN: "🔁"}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~-])")


def commands(standing: Standing, places: Mapping[str, str]) -> str:
    """A workflow command a line: an error for what failed, a warning for a rerun, a notice for what is pending.

    Args:
        standing: the submission.
        places: where in the repository a file lies, by its name; one that isn't in it is annotated nowhere.
    """
    lines = [_command(each, places) for each in standing.findings if each.fate in _KINDS and not each.is_unreached]
    total = " ".join([of_points(standing.row.score, standing.row.max_score) + ".", *standing.notes()])
    lines.append(f"::notice title={_property(standing.title)}::{_data(total)}")
    return "\n".join(lines) + "\n"


def summary(standing: Standing) -> str:
    """The Markdown for $GITHUB_STEP_SUMMARY."""
    row = standing.row
    lines = [
        f"## {_inline(standing.title)}: {of_points(row.score, row.max_score)}",
        "",
        f"Submission: {_inline(standing.name)}",
        "",
        *(f"- {_inline(note)}" for note in standing.notes()),
        "",
        "| exercise | tier | result | points |",
        "|---|---|---|---|",
        *(_table_row(each) for each in standing.findings),
        "",
    ]
    used = 0
    for each in standing.findings:
        details = _details(each)
        used += len(details)
        if used > MAX_DETAILS:
            lines.append("More details than GitHub takes: the rest is left out.")
            break
        lines += [details] if details else []
    return "\n".join(lines).rstrip("\n") + "\n"


def _command(finding: Finding, places: Mapping[str, str]) -> str:
    properties = {"title": f"{finding.name}: {finding.headline}"}
    where = finding.where
    if where and where.path in places:
        properties = {"file": places[where.path], "line": str(where.line), **properties}
    shown = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{_KINDS[finding.fate]} {shown}::{_data(finding.text or finding.headline)}"


def _data(text: str) -> str:
    # An older form of command, which a runner finds anywhere in a line that is none of the newer form.
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A").replace("##[", "##\u200b[")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _table_row(finding: Finding) -> str:
    could = finding.max_points or finding.pending_points
    got = f"{points(finding.points)} of {points(could)}" if finding.max_points else f"– of {points(could)}"
    cells = [f"{finding.exercise_id} {finding.title}", str(finding.tier or "–"), finding.headline]
    shown = [_inline(text) for text in cells]
    return f"| {shown[0]} | {shown[1]} | {_MARKS[finding.fate]} {shown[2]} | {got} |"


def _details(finding: Finding) -> str:
    """What to know of what was lost, as it is."""
    if finding.fate is not Fate.LOST or finding.is_unreached or not finding.text:
        return ""
    return f"### {_inline(finding.name)}: {_inline(finding.headline)}\n\n{_fenced(finding.text)}\n"


def _fenced(text: str) -> str:
    """A block of code that nothing in it can end."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _inline(text: str) -> str:
    """Text in one line that Markdown and HTML leave as it is, and that mentions nobody."""
    return html.escape(_MARKDOWN.sub(r"\\\1", one_line(text)).replace("@", "@\u200b"), quote=False)
