"""The emulator's figures beside those that a card gave, and the table in the docs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from cuda_ncu_table import LAUNCHES, METRICS, SHARED, Figures, conflicts, emulated, recorded, table

from gpuprep.counters.cuda_emulator import why_unsupported

pytestmark = pytest.mark.skipif(bool(why_unsupported()), reason=why_unsupported() or "g++ is here")

PAGE = Path(__file__).resolve().parent.parent / "docs" / "emulator.md"
BLOCK = re.compile(r"<!-- table: emulator and ncu -->\n(.*?)<!-- /table -->", re.DOTALL)
EXACT = ("load requests", "load sectors", "store requests", "store sectors")
MERGED = {"sgemm_tiled"}
"""Where the card's compiler merges shared loads; docs/emulator.md says how."""


@pytest.fixture(scope="module")
def ours() -> Mapping[str, Figures]:
    """What the emulator counts."""
    return emulated()


def test_the_record_is_whole() -> None:
    """Every kernel of the table has every figure."""
    assert {kernel: set(figures) for kernel, figures in recorded().items()} == {
        launch.kernel: set(METRICS) for launch in LAUNCHES
    }


def test_sectors_are_the_cards(ours: Mapping[str, Figures]) -> None:
    """Requests and sectors of global memory are what ncu read, to the last one."""
    assert {kernel: {name: figures[name] for name in EXACT} for kernel, figures in ours.items()} == {
        kernel: {name: figures[name] for name in EXACT} for kernel, figures in recorded().items()
    }


def test_bank_conflicts_are_the_cards(ours: Mapping[str, Figures]) -> None:
    """Conflicts of shared loads and stores too."""
    assert {kernel: conflicts(figures) for kernel, figures in ours.items()} == {
        kernel: conflicts(figures) for kernel, figures in recorded().items()
    }


def test_shared_requests_are_the_cards_unless_merged(ours: Mapping[str, Figures]) -> None:
    """Requests of shared memory too, except where the page says that a compiler merges them."""
    card = recorded()
    differ = {kernel for kernel in ours if any(ours[kernel][name] != card[kernel][name] for name in SHARED.values())}
    assert differ == MERGED


def test_the_page_shows_the_table(ours: Mapping[str, Figures]) -> None:
    """docs/emulator.md has the table as the command prints it."""
    found = BLOCK.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None
    assert found[1].strip() == table(ours, recorded())
