"""A CSV that Canvas imports as it is, and Moodle when its columns are mapped: a row a submission.

The grade is a percentage of what could be graded, after what being late costs: an LMS knows one number, and whatever
is still pending must be neither in what was reached nor in what could be. Where nothing was graded it is empty, which
leaves the gradebook as it was.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from gpuprep.classroom.scoring import cell
from gpuprep.render.gradebooks.standing import Standing

CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
"""The columns that Canvas wants before the grades. It finds a student by the first of the three ids that is there."""


def document(title: str, standings: Sequence[Standing]) -> str:
    """The CSV.

    Args:
        title: of the assignment, and of its column.
        standings: the class.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*CANVAS, cell(title)])
    for each in standings:
        name = cell(each.row.submission)
        writer.writerow([name, "", "", name, "", percent(each)])
    return text.getvalue()


def percent(standing: Standing) -> str:
    """`88.89`, rounded to a hundredth; empty where nothing was graded."""
    row = standing.row
    if not row.max_score:
        return ""
    return f"{100 * row.score / row.max_score:.2f}".rstrip("0").rstrip(".")
