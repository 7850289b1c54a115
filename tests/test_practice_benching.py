"""`gpuprep bench`: what it does without a card, and, on one, what it times."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from gpuprep import curriculum
from gpuprep.errors import GpuprepError
from gpuprep.exercise import Exercise
from gpuprep.grader import scaled_down
from gpuprep.grading.comparison import swept
from gpuprep.grading.loading import load_grader
from gpuprep.model import Case, Tier
from gpuprep.practice.benching import plot_format

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


def test_picture_must_be_svg_or_png() -> None:
    """Said at once, and not after minutes of timing."""
    done = bench("--reference", "ex_01", "--plot", "bench.pdf", CUDA_VISIBLE_DEVICES="")
    assert (done.returncode, done.stdout) == (2, "")
    assert "bench.pdf" in done.stderr


def test_picture_without_matplotlib_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named, as it is typed."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(GpuprepError) as raised:
        plot_format(Path("bench.svg"))
    assert raised.value.next_step == "pip install 'gpuprep[plot]'"


@pytest.mark.parametrize("exercise", [ex for ex in curriculum.load(ROOT).exercises if ex.targets], ids=lambda ex: ex.id)
def test_sweep_goes_down_in_size(exercise: Exercise) -> None:
    """Each operation's smaller cases move fewer bytes than the one before, under names of their own."""
    grader = load_grader(curriculum.load(ROOT), exercise)
    cases = [case for case in grader.cases(random.Random(0)) if case.tier is Tier.SPEED]
    together = swept(grader, cases)
    assert len({case.name for case in together}) == len(together) >= len(cases)
    for case in cases:
        sizes = [grader.traffic(each).bytes for each in (case, *grader.sweep(case))]
        assert sizes == sorted(set(sizes), reverse=True)


def test_scaled_sizes_stay_aligned() -> None:
    """What a power of two up to 64 divides, it still divides; an axis that is too short ends the sweep."""
    case = Case({"op": "gemv", "N": 28672 - 64 * 3, "K": 8192, "dtype": "float16"}, Tier.SPEED, ("cuda",))
    assert [smaller["N"] for smaller in scaled_down(case)] == [7104, 1728, 384]
    assert {(smaller.op, smaller["K"], smaller.tier) for smaller in scaled_down(case)} == {("gemv", 8192, Tier.SPEED)}
    assert [smaller["M"] for smaller in scaled_down(Case({"M": 8191, "N": 8192}))] == [2047, 511, 127]
    assert scaled_down(Case({"dtype": "float32"})) == ()


@pytest.mark.gpu
def test_sweep_with_its_picture(tmp_path: Path) -> None:
    """Several sizes of ex_01, a chart of them in the terminal, and a picture."""
    path = tmp_path / "bench.svg"
    done = bench("--reference", "ex_01", "--sweep", "--plot", str(path))
    assert done.returncode == 0, done.stderr
    assert "% of what bounds it" in done.stdout
    assert "on the roofline" in done.stdout
    assert "<svg" in path.read_text(encoding="utf-8")


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
