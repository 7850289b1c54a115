"""Times side by side, as a person and as a script read them."""

from __future__ import annotations

import pytest
from golden_files import assert_golden
from sample_reports import EXERCISE

from gpuprep.grader import Traffic
from gpuprep.grading.ceilings import Ceilings
from gpuprep.grading.comparison import Compared, Comparison, Entry
from gpuprep.model import Case, Tier
from gpuprep.render.comparison import bench_document, bench_page

CEILINGS = Ceilings("NVIDIA H200", "GPU-1", 4000.0, {"float16": 700.0})
SPEED = Case({"n": 2**20, "dtype": "float16"}, Tier.SPEED, ("cuda",))


def entry(name: str, median_ms: float, *, is_file: bool = False) -> Entry:
    """So steady that the interval is narrow."""
    return Entry(name, is_file, tuple(median_ms * (1 + place / 1000) for place in range(-10, 11)))


def compared(traffic: Traffic) -> Compared:
    """The learner's, the reference, and two baselines of which one can't run."""
    entries = (
        entry("yours", 0.5, is_file=True),
        entry("the reference", 0.4, is_file=True),
        entry("torch.softmax", 1.25),
        Entry("torch.compile", is_file=False, why_not="no C compiler"),
    )
    return Compared(EXERCISE, (Comparison(SPEED, traffic, entries, CEILINGS),), "NVIDIA H200", {"torch": "2.13.0"})


MEMORY_BOUND = Traffic(bytes=10**9, flops=10**9, dtype="float16")
COMPUTE_BOUND = Traffic(bytes=10**6, flops=2 * 10**11, dtype="float16")


@pytest.mark.parametrize(("name", "traffic"), [("memory", MEMORY_BOUND), ("compute", COMPUTE_BOUND)])
def test_table_is_what_it_was(name: str, traffic: Traffic) -> None:
    """Rates are of what bounds the exercise; what can't run is named below, with its reason."""
    page = bench_page(compared(traffic))
    assert_golden(f"bench_{name}_bound", page.text())
    assert max(map(len, page.text().splitlines())) <= 80


def test_script_gets_every_entry() -> None:
    """A baseline that can't run here is there with its reason, and without times."""
    case = bench_document(compared(MEMORY_BOUND))["cases"][0]
    assert [found.get("median_ms") for found in case["entries"]] == [0.5, 0.4, 1.25, None]
    assert case["entries"][0]["share"] == pytest.approx(0.5)
    assert case["entries"][-1]["why_not"] == "no C compiler"
