"""Times side by side, as a table a case: median, spread, rate, and how many times as fast the learner's is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuprep.render.comparison_chart import add_charts
from gpuprep.render.figures import milliseconds
from gpuprep.render.layout import INDENT, WIDTH, Page, Part

if TYPE_CHECKING:
    from gpuprep.grading.comparison import Compared, Comparison, Entry


def bench_page(compared: Compared, *, width: int = WIDTH) -> Page:
    """What one exercise's files and baselines take on this card."""
    page = Page(width)
    versions = ", ".join(f"{name} {version}" for name, version in compared.versions.items())
    page.line((f"{compared.exercise.id} {compared.exercise.title}", "strong"))
    page.line((", ".join(filter(None, (compared.card, versions))), "quiet"), indent=INDENT)
    for comparison in compared.comparisons:
        page.blank()
        page.line((comparison.case.name, "strong"), indent=INDENT)
        _table(page, comparison)
    add_charts(page, compared)
    page.blank()
    page.prose(
        "×: how many times as long as the first. Timed in turn by the worker's own clock; nothing is judged here, "
        "`gpuprep check` judges and audits.",
        style="quiet",
    )
    page.next_command(f"gpuprep check {compared.exercise.id}")
    return page


def _table(page: Page, comparison: Comparison) -> None:
    unit, of = ("TFLOP/s", "of matmul") if comparison.is_compute_bound else ("GB/s", "of copy")
    if comparison.ceilings is None:
        unit, of = "GB/s a rank", ""
    timed = [entry for entry in comparison.entries if entry.samples_ms]
    rows: list[list[Part]] = [[("", ""), *((name, "quiet") for name in ("median", "spread", unit, of, "×"))]]
    rows += [_row(comparison, entry, timed[0]) for entry in timed]
    page.table(rows, "<>>>>>", indent=2 * INDENT)
    for entry in comparison.entries:
        if not entry.samples_ms:
            page.prose(f"{entry.name}: not here ({entry.why_not})", indent=2 * INDENT, style="quiet")


def _row(comparison: Comparison, entry: Entry, first: Entry) -> list[Part]:
    low_ms, median_ms, high_ms = entry.interval_ms
    rate, share = comparison.rate(entry), comparison.share(entry)
    # How many times as fast the first one is.
    factor = median_ms / first.interval_ms[1]
    return [
        (entry.name, "strong" if entry.is_file else ""),
        milliseconds(median_ms),
        (milliseconds(low_ms, high_ms), "quiet"),
        f"{rate:.0f}" if rate >= 10 else f"{rate:.2f}",
        "" if share is None else f"{share:.0%}",
        "" if entry is first else f"{factor:.2f}",
    ]


def bench_document(compared: Compared) -> dict[str, Any]:
    """The same for a script: every entry of every case; GB is 10⁹ bytes, a TFLOP 10¹² operations."""
    return {
        "exercise_id": compared.exercise.id,
        "card": compared.card,
        "versions": dict(compared.versions),
        "cases": [
            {
                "case": comparison.case.name,
                "bytes": comparison.traffic.bytes,
                "flops": comparison.traffic.flops,
                "share_of": "matmul" if comparison.is_compute_bound else "copy",
                "ceilings": _ceilings(comparison),
                "entries": [_entry(comparison, entry) for entry in comparison.entries],
            }
            for comparison in compared.comparisons
        ],
    }


def _ceilings(comparison: Comparison) -> dict[str, Any] | None:
    ceilings = comparison.ceilings
    if ceilings is None:
        return None
    return {
        "copy_gb_per_s": ceilings.copy_gb_per_s,
        "matmul_tflop_per_s": ceilings.matmul_tflop_per_s.get(comparison.traffic.dtype),
    }


def _entry(comparison: Comparison, entry: Entry) -> dict[str, Any]:
    if not entry.samples_ms:
        return {"name": entry.name, "why_not": entry.why_not}
    low_ms, median_ms, high_ms = entry.interval_ms
    times = {"low_ms": low_ms, "median_ms": median_ms, "high_ms": high_ms, "n_samples": len(entry.samples_ms)}
    return {"name": entry.name, **times, "rate": comparison.rate(entry), "share": comparison.share(entry)}
