"""`gpuprep bench`: what it does without a card, and, on one, what it times."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def bench(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, run as a person would."""
    import os

    return subprocess.run(
        [sys.executable, "-m", "gpuprep", "bench", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_without_a_card_nothing_is_timed() -> None:
    """Times of an interpreter would mean nothing, so there are none, and the message says where to look."""
    done = bench("--reference", "ex_01", CUDA_VISIBLE_DEVICES="")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no GPU" in done.stderr
    assert "next: gpuprep doctor" in done.stderr


def test_outside_a_workspace_it_says_how_to_make_one(tmp_path: Path) -> None:
    """Without --reference there must be a file of the learner's."""
    done = bench("ex_01", cwd=tmp_path, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert "gpuprep init" in done.stderr


@pytest.mark.gpu
def test_reference_beside_its_baselines(tmp_path: Path) -> None:
    """The reference of ex_04 is a multiple as fast as torch's softmax, on every size, and the CSV says the same."""
    path = tmp_path / "times.csv"
    done = bench("--reference", "ex_04", "--csv", str(path), "--json")
    assert done.returncode == 0, done.stderr
    cases = json.loads(done.stdout)["exercises"][0]["cases"]
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum("median_ms" in entry for case in cases for entry in case["entries"])
    for case in cases:
        median_ms = {entry["name"]: entry["median_ms"] for entry in case["entries"] if "median_ms" in entry}
        assert 2 * median_ms["the reference"] < median_ms["torch.softmax"]
        assert median_ms["the reference"] < median_ms["torch.compile"]
