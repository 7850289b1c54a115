"""JUnit XML of a class, as Ant's and Jenkins' schemas have it: a test suite a submission, a test case a tier.

A failed tier is a failure, a pending one is skipped, and one that is to be graded again is an error: the grader's or
the card's, never the student's. Points are properties of the suite.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC
from xml.etree import ElementTree as ET

from gpuprep.classroom.scoring import Fate, points
from gpuprep.render.findings import Finding
from gpuprep.render.gradebooks.standing import Standing

# What XML 1.0 can't hold, however it is written.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_KINDS = {Fate.LOST: "failure", Fate.RERUN: "error"}


def document(standings: Sequence[Standing]) -> str:
    """The XML of these submissions."""
    root = ET.Element("testsuites")
    for place, each in enumerate(standings):
        _suite(root, each, place)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(root: ET.Element, standing: Standing, place: int) -> None:
    fates = [each.fate for each in standing.findings]
    suite = ET.SubElement(
        root,
        "testsuite",
        {
            "name": _text(standing.name),
            "package": _text(standing.title),
            "id": str(place),
            "timestamp": standing.student.noted.submitted.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            # Where it was graded is not part of the record.
            "hostname": "localhost",
            "tests": str(len(fates)),
            "failures": str(fates.count(Fate.LOST)),
            "errors": str(fates.count(Fate.RERUN)),
            "skipped": str(fates.count(Fate.PENDING)),
            "time": f"{standing.elapsed_s:.3f}",
        },
    )
    _properties(suite, standing)
    timed: set[str] = set()
    for finding in standing.findings:
        grade = standing.student.grades.get(finding.exercise_id)
        is_first = finding.exercise_id not in timed
        elapsed_s = grade.report.elapsed_s if grade and grade.report and is_first else 0.0
        timed.add(finding.exercise_id)
        _case(suite, finding, elapsed_s)
    printed = [f"{each.exercise_id}:\n{each.printed}" for each in standing.findings if each.printed]
    ET.SubElement(suite, "system-out").text = _text("\n".join(printed))
    ET.SubElement(suite, "system-err").text = ""


def _properties(suite: ET.Element, standing: Standing) -> None:
    row = standing.row
    found = ET.SubElement(suite, "properties")
    values = {
        "score": points(row.score),
        "max_score": points(row.max_score),
        "pending_points": points(row.pending_points),
        "days_late": str(row.n_days_late),
        "submission_hash": standing.student.noted.hash,
        "gpuprep": standing.record.identity.gpuprep,
        "sandbox": standing.record.identity.sandbox,
    }
    for name, value in values.items():
        ET.SubElement(found, "property", {"name": name, "value": _text(value)})


def _case(suite: ET.Element, finding: Finding, elapsed_s: float) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        {
            "classname": _text(finding.exercise_id),
            "name": _text(str(finding.tier or finding.headline)),
            "time": f"{elapsed_s:.3f}",
        },
    )
    if finding.fate is Fate.PENDING:
        ET.SubElement(case, "skipped", {"message": _text(finding.text)})
    elif kind := _KINDS.get(finding.fate):
        attributes = {"message": _text(finding.headline), "type": _text(finding.outcome or finding.headline)}
        ET.SubElement(case, kind, attributes).text = _text(finding.text)


def _text(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)
