"""`history` and `compare` as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest
import sample_reports as samples
from golden_files import assert_golden
from test_practice_history import EXERCISE, record, with_work

from gpuprep import progress as progress_module
from gpuprep.model import Outcome
from gpuprep.practice.history import compare, history
from gpuprep.progress import Progress
from gpuprep.render import machine
from gpuprep.render.history import MAX_COLUMNS, MAX_DIFF_LINES, compare_page, history_page, spark
from gpuprep.render.history_json import compare_document, history_document
from gpuprep.render.layout import Page

SOURCE = "def add(x, y):\n    BLOCK = {block}\n    return launch(x, y, BLOCK)\n"


@pytest.fixture
def progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Progress]:
    """A record in which every attempt is a quarter of an hour after the one before it."""
    clock = iter(range(1000))

    def now() -> str:
        minutes = 15 * next(clock)
        return f"2026-03-04T{5 + minutes // 60:02}:{minutes % 60:02}:00.000+00:00"

    monkeypatch.setattr(progress_module, "_now", now)
    with Progress(tmp_path / "progress.db") as opened:
        yield opened


def climb(progress: Progress) -> None:
    """From the stub to gold."""
    reports = (
        samples.without_cases(Outcome.NOT_STARTED),
        samples.wrong_values(),
        samples.too_much_work(),
        samples.timed(0.55),
        samples.timed(0.84),
        samples.timed(0.61),
        samples.timed(0.97),
    )
    for number, report in enumerate(reports):
        record(progress, report, SOURCE.format(block=2**number))


def longest(page: Page) -> int:
    return max(len(line) for line in page.text().splitlines())


def test_history_with_a_card(progress: Progress) -> None:
    """Outcomes, right results, work and speed as sparklines; the attempts; the one that got faster and its diff."""
    climb(progress)
    page = history_page(history(EXERCISE, progress), zone=UTC)
    assert_golden("history", page.text())
    assert longest(page) <= 80


def test_history_without_a_card(progress: Progress) -> None:
    """Counted work and right results are shown, no speed is invented, and the step is one of work."""
    record(progress, samples.wrong_values(), SOURCE.format(block=1))
    for block, n_times in ((2, 3.0), (4, 1.5), (8, 1.0)):
        record(progress, with_work(n_times), SOURCE.format(block=block))
    page = history_page(history(EXERCISE, progress), zone=UTC)
    assert_golden("history_no_card", page.text())
    assert "not measured" in page.text()


def test_history_of_nothing(progress: Progress) -> None:
    """Before the first check the page says so, with the command that changes it."""
    text = history_page(history(EXERCISE, progress)).text()
    assert "no attempts yet" in text
    assert text.splitlines()[-1].startswith("next: gpuprep check ex_01")


def test_compare(progress: Progress) -> None:
    """Figures side by side, what changed in them, and the diff."""
    climb(progress)
    page = compare_page(compare(EXERCISE, progress, "4", "best"), zone=UTC)
    assert_golden("compare", page.text())
    assert longest(page) <= 80


def test_compare_within_the_spread(progress: Progress) -> None:
    """Two times whose intervals meet are not called faster or slower; equal sources have no diff."""
    record(progress, samples.timed(0.900), "a")
    record(progress, samples.timed(0.902), "a")
    text = compare_page(compare(EXERCISE, progress, "1", "2"), zone=UTC).text()
    assert "no difference beyond the spread" in text
    assert "The sources are the same." in text


def test_compare_without_a_source(progress: Progress) -> None:
    """A source that was not kept is said with its reason."""
    progress.record(samples.provisional(), unkept="too large")
    record(progress, samples.timed(0.9), "a")
    assert "attempt 1 (too large)" in compare_page(compare(EXERCISE, progress, "1", "2"), zone=UTC).text()


def test_many_attempts_show_the_latest(progress: Progress) -> None:
    """The sparkline has room for the latest attempts; `--all` tells of every one of them, and nothing overflows."""
    for number in range(MAX_COLUMNS + 9):
        record(progress, with_work(3.0 - number / 100), f"version {number}\n" * (number + 1))
    found = history(EXERCISE, progress)
    page, whole = history_page(found, zone=UTC), history_page(found, zone=UTC, is_whole=True)
    [outcomes] = [line for line in page.text().splitlines() if line.lstrip().startswith("outcome")]
    assert outcomes.count("◐") == MAX_COLUMNS
    assert longest(page) <= 80
    assert len(whole.lines) > len(page.lines) + MAX_COLUMNS
    assert " 1  2026-03-04" in whole.text()
    assert " 1  2026-03-04" not in page.text()


def test_a_long_diff_is_cut_and_its_command_named(progress: Progress) -> None:
    """A diff that nobody asked for ends after some lines; the next command shows it whole."""
    record(progress, with_work(2.0), "old\n" * 50)
    record(progress, with_work(1.0), "new\n" * 50)
    text = history_page(history(EXERCISE, progress), zone=UTC).text()
    assert sum(line.startswith(("-old", "+new")) for line in text.splitlines()) < MAX_DIFF_LINES
    assert text.splitlines()[-1] == "next: gpuprep compare ex_01 1 2   the whole diff"


@pytest.mark.parametrize(
    ("values", "top", "expected"),
    [
        ((0.0, 0.5, 1.0), 1.0, "▁▄█"),
        ((None, 20 / 21, 1.0), 1.0, "·▇█"),
        ((1.3, -0.1), 1.0, "█▁"),
        ((1.0, 2.0), 2.0, "▄█"),
        ((), 1.0, ""),
    ],
)
def test_spark(values: tuple[float | None, ...], top: float, expected: str) -> None:
    """Only what reaches the top has the full bar; what is missing is a point, not a low bar."""
    assert spark(values, top) == expected


def test_source_lines_cannot_command_the_terminal(progress: Progress) -> None:
    """Escape sequences in a learner's source are shown without their control characters."""
    record(progress, with_work(2.0), "x = '\x1b[2J'\n")
    record(progress, with_work(1.0), "y = 1\n")
    assert "\x1b" not in history_page(history(EXERCISE, progress), zone=UTC).text()


def test_history_document(progress: Progress) -> None:
    """The JSON has every attempt, the series with gaps as null, and the step with its diff."""
    climb(progress)
    document = history_document(history(EXERCISE, progress))
    assert machine.dumps(document)
    assert [attempt["number"] for attempt in document["attempts"]] == [1, 2, 3, 4, 5, 6, 7]
    speed = next(series for series in document["series"] if series["device"])
    assert speed["values"] == [None, None, None, 0.55, 0.84, 0.61, 0.97]
    assert (speed["best"], speed["last"]) == (7, 7)
    assert (document["step"]["before"], document["step"]["after"]) == (4, 5)
    assert document["diff"][0]["lines"]


def test_compare_document(progress: Progress) -> None:
    """The JSON has both attempts with times and counted work, and the diff."""
    climb(progress)
    document = compare_document(compare(EXERCISE, progress, "4", "5"))
    assert machine.dumps(document)
    assert document["before"]["timings"][0]["median_ms"] == 0.752
    assert {each["figure"] for each in document["after"]["counted"]} == {"bytes_loaded", "bytes_stored", "launches"}
    assert document["diff"][0]["name"] == "ex_01_vector_add.py"
