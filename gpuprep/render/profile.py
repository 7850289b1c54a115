"""A profile as a page: each figure on a line, and below it what to do about it, where something is to be done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuprep.grading.profile_figures import counter_figures, kernel_figures, timed_figures, work_figures
from gpuprep.model import Outcome
from gpuprep.occupancy import CARDS, warps_of
from gpuprep.render.figures import milliseconds
from gpuprep.render.layout import HARD_SPACE, INDENT, WIDTH, Page, counted, grouped
from gpuprep.render.machine import Document, document

if TYPE_CHECKING:
    from gpuprep.grading.profile_figures import Figure
    from gpuprep.grading.profiled import Kernel, Operation, Profile, Timed
    from gpuprep.render.views import Profiled

_LABEL_WIDTH = 18


def profile_page(found: Profiled, display: Callable[[Path], str], *, width: int = WIDTH) -> Page:
    """What a file's kernels are like.

    Args:
        found: the profile.
        display: a path as the learner would type it.
        width: columns that prose is wrapped to.
    """
    page = Page(width)
    told = found.profile
    exercise = told.exercise
    page.line((f"{exercise.id} {exercise.title}", "strong"), ("  profile", "quiet"))
    page.line((display(Path(told.path)), "path"), indent=INDENT)
    page.prose(_made_for(told), style="quiet")
    if found.has_changed:
        page.prose(f"the file has changed since attempt {found.attempt} ({found.outcome})", style="warning")
    for operation in told.operations:
        _add_operation(page, operation, told)
    if not any(figure.advice for figure in _all_figures(told)):
        page.blank()
        page.prose("Nothing in these figures asks for a change.")
    if told.unknown:
        page.blank()
        page.line(("not known here", "strong"), indent=INDENT)
        for unknown in told.unknown:
            page.prose(f"{unknown.what}: {unknown.why}", indent=2 * INDENT, style="quiet")
    if found.trace_path is not None:
        page.blank()
        page.prose(f"{display(found.trace_path)}: open it in https://ui.perfetto.dev or chrome://tracing")
    is_unchanged_pass = found.outcome is Outcome.PASSED and not found.has_changed
    if told.card and is_unchanged_pass:
        page.next_command(f"gpuprep bench {exercise.id}")
    else:
        page.next_command(f"gpuprep check {exercise.id}", "after a change")
    return page


def profile_document(found: Profiled) -> Document:
    """The same for a script: every figure with its value, the least that is known of it, and its advice."""
    told = found.profile
    return document(
        "profile",
        exercise_id=told.exercise.id,
        path=told.path,
        attempt=found.attempt,
        outcome=found.outcome,
        has_changed=found.has_changed,
        target=_target(told),
        card=told.card or None,
        n_sms=told.n_sms,
        versions=dict(told.versions or {}),
        operations=[_operation_dict(operation, told) for operation in told.operations],
        unknown=[asdict(unknown) for unknown in told.unknown],
        trace=found.trace_path,
    )


def _all_figures(told: Profile) -> Iterable[Figure]:
    for operation in told.operations:
        yield from work_figures(operation)
        for kernel in operation.kernels:
            yield from kernel_figures(kernel, told, operation)
        yield from timed_figures(operation.timed) if operation.timed else ()
        for counters in operation.counters:
            yield from counter_figures(counters)


def _made_for(told: Profile) -> str:
    compiled = f"compiled for {_target(told)} ({CARDS[told.capability]})"
    return f"{compiled}; run on {told.card}" if told.card else f"{compiled}; counted, and not run on a card"


def _target(told: Profile) -> str:
    return f"sm_{told.capability.replace('.', '')}"


def _add_operation(page: Page, operation: Operation, told: Profile) -> None:
    if operation.name:
        page.blank()
        page.line((operation.name, "strong"), indent=INDENT)
    for kernel in operation.kernels:
        page.blank()
        page.line((kernel.name, "strong"), *_launch(kernel, operation), indent=INDENT)
        details = _details(kernel)
        if details:
            page.prose(details, indent=2 * INDENT, style="quiet")
        _add_figures(page, kernel_figures(kernel, told, operation), kernel)
    if operation.timed is not None:
        _add_timed(page, operation.timed)
    for counters in operation.counters:
        page.blank()
        page.line(("hardware counters", "strong"), (f"  {counters.kernel}", "quiet"), indent=INDENT)
        _add_figures(page, counter_figures(counters))
    if operation.counted is not None and operation.counted.work is not None:
        page.blank()
        page.line(("counted work", "strong"), (f"  {operation.counted.case.name}", "quiet"), indent=INDENT)
        _add_figures(page, work_figures(operation))


def _launch(kernel: Kernel, operation: Operation) -> list[tuple[str, str]]:
    case = operation.compiled_for
    times = f", {counted(kernel.launches, 'launch')}" if kernel.launches > 1 else ""
    return [(f"  {case.name}{times}" if case else times, "quiet")]


def _details(kernel: Kernel) -> str:
    """Constants, and how they were come by."""
    named = ", ".join(f"{name}={value}" for name, value in (kernel.constants or {}).items())
    stages = f"num_stages={kernel.stages}" if kernel.stages is not None else ""
    tuned = (
        f"the first of the tuner's {kernel.configurations} configurations; a card may choose another"
        if kernel.configurations > 1
        else ""
    )
    parts = ", ".join(filter(None, (named, stages)))
    return "; ".join(filter(None, (parts, tuned)))


def _add_timed(page: Page, timed: Timed) -> None:
    page.blank()
    page.line(("on the card", "strong"), (f"  {timed.case.name}", "quiet"), indent=INDENT)
    _add_figures(page, timed_figures(timed), timed=timed)
    if not timed.top:
        return
    rows = [
        [f"{kernel.share:.0%}", milliseconds(kernel.mean_ms), f"{kernel.per_call:g} a call", _shortened(kernel.name)]
        for kernel in timed.top
    ]
    page.table(rows, ">>><", indent=2 * INDENT)


def _shortened(name: str) -> str:
    """A kernel's name in one line: libraries' templates spell out theirs at any length."""
    return name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 1]}…"


_NAME_WIDTH = 40


def _add_figures(
    page: Page, figures: Iterable[Figure], kernel: Kernel | None = None, timed: Timed | None = None
) -> None:
    for figure in figures:
        label, text = _worded(figure, kernel, timed)
        style = "warning" if figure.advice else ""
        page.prose(text, indent=2 * INDENT, lead=[(f"{label:{_LABEL_WIDTH}}", "quiet")], style=style)
        if figure.advice:
            page.prose(figure.advice, indent=3 * INDENT, lead=[("→ ", "strong")])


def _worded(figure: Figure, kernel: Kernel | None, timed: Timed | None) -> tuple[str, str]:
    """What a figure is called, and its value in words."""
    value = figure.value
    if figure.id == "occupancy" and kernel is not None and kernel.occupancy is not None:
        found = kernel.occupancy
        blocks = counted(found.active_blocks, "block")
        warps = counted(warps_of(kernel.threads), "warp")
        limits = f"; limited by {_joined(found.limited_by)}" if value < 1 else ""
        return "occupancy", f"{100 * value:.3g}%, {blocks} of {warps}{limits}"
    if figure.id == "blocks" and kernel is not None:
        return "grid", f"{counted(int(value), 'block')} of {counted(kernel.threads, 'thread')}"
    if figure.id == "median_ms" and timed is not None:
        return "a call", f"{milliseconds(value)} ({milliseconds(timed.low_ms, timed.high_ms)})"
    label, form = _WORDS.get(figure.id, (figure.id.replace("_", " "), "{}"))
    if not value and figure.id in _NONE:
        return label, "none"
    if figure.id == "launches" and value == figure.least:
        return label, form.format(_number(value, form))
    least = f" = {value / figure.least:.2f}{HARD_SPACE}×{HARD_SPACE}least" if figure.least else ""
    return label, form.format(_number(value, form)) + least


def _number(value: float, form: str) -> Any:
    if ":" in form:
        return value
    return grouped(int(value)) if float(value).is_integer() else f"{value:.2f}"


_WORDS = {
    "registers": ("registers", "{} a thread"),
    "spill_bytes": ("spills", "{} bytes a thread"),
    "stack_bytes": ("local memory", "{} bytes a thread"),
    "shared_bytes": ("shared memory", "{} bytes a block"),
    "bytes_loaded": ("loaded", "{} bytes"),
    "bytes_stored": ("stored", "{} bytes"),
    "dot_flops": ("dots", "{} FLOP"),
    "launches": ("launches", "{}"),
    "sectors_used": ("sectors", "{:.0%} used"),
    "sectors_per_load": ("load request", "{:.2f} sectors"),
    "sectors_per_store": ("store request", "{:.2f} sectors"),
    "bank_conflicts": ("bank conflicts", "{}"),
    "busy_share": ("busy", "{:.0%} of the time from first kernel to last"),
    "copies_share": ("copies and fills", "{:.0%} of the time"),
    "device_bytes": ("device memory", "{} bytes"),
    "memory_share": ("memory", "{:.0f}% of the card's peak"),
    "compute_share": ("arithmetic", "{:.0f}% of the card's peak"),
    "active_warps_share": ("active warps", "{:.0f}% of what SMs can hold"),
    "load_requests": ("load requests", "{}"),
    "load_sectors": ("load sectors", "{}"),
    "shared_loads": ("shared loads", "{} by a warp each"),
    "shared_stores": ("shared stores", "{} by a warp each"),
    "load_conflicts": ("load conflicts", "{}"),
    "store_conflicts": ("store conflicts", "{}"),
}
"""By figure: what it is called, and its value in words."""


_NONE = (
    "spill_bytes stack_bytes shared_bytes bank_conflicts shared_loads shared_stores load_conflicts store_conflicts"
).split()


def _joined(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _operation_dict(operation: Operation, told: Profile) -> Document:
    return {
        "op": operation.name,
        "counted_case": operation.counted.case.name if operation.counted else None,
        "compiled_case": operation.compiled_for.name if operation.compiled_for else None,
        "kernels": [
            {**asdict(kernel), "figures": [asdict(figure) for figure in kernel_figures(kernel, told, operation)]}
            for kernel in operation.kernels
        ],
        "work": [asdict(figure) for figure in work_figures(operation)],
        "accesses": [asdict(access) for access in operation.accesses],
        "timed": _timed_dict(operation.timed) if operation.timed else None,
        "counters": [
            {"kernel": each.kernel, "figures": [asdict(figure) for figure in counter_figures(each)]}
            for each in operation.counters
        ],
    }


def _timed_dict(timed: Timed) -> Document:
    plain = {name: value for name, value in asdict(timed).items() if name != "case"}
    return {"case": timed.case.name, **plain, "figures": [asdict(figure) for figure in timed_figures(timed)]}
