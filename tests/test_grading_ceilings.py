"""On a card: its rates, and what a cache that somebody wrote can do to them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpuprep.grading.ceilings import calibrate

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("rates", ["copy", "matmul"])
def test_forged_rates_are_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rates: str) -> None:
    """A cache that says a third of what the card does is not believed; an honest one is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    honest = calibrate(("float16",))
    assert calibrate(("float16",), anew=False) == honest
    path = tmp_path / "gpuprep" / "ceilings.json"
    entries = json.loads(path.read_text())
    for found in entries.values():
        if rates == "copy":
            found["copy_gb_per_s"] /= 3
        else:
            found["matmul_tflop_per_s"]["float16"] /= 3
    path.write_text(json.dumps(entries))
    again = calibrate(("float16",), anew=False)
    assert again.copy_gb_per_s == pytest.approx(honest.copy_gb_per_s, rel=0.03)
    assert again.matmul_tflop_per_s["float16"] == pytest.approx(honest.matmul_tflop_per_s["float16"], rel=0.05)
