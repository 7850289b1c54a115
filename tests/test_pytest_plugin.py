"""Exercises as pytest items: the same outcomes as `gpuprep check --all`, and nothing at all outside a workspace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from gpuprep import curriculum, workspace
from gpuprep.authoring.scaffold import scaffold

CHECKOUT = Path(__file__).resolve().parent.parent
YAML = "format_version: 1\ntitle: Small\nmodules:\n  - id: 00_all\n    title: All\n    exercises: []\n"
RIGHT, WRONG, STUB, BROKEN, FAULTY, RAISING = (f"ex_0{number}" for number in range(1, 7))
STATUS = {"PASSED": "passed", "PROVISIONAL": "passed", "NOT_STARTED": "skipped", "SKIPPED": "skipped"}
"""What a verdict's item comes to; GRADER_FAULT is an error, and all else a failure."""


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command there."""
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "100", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest with this plugin and no other."""
    return run(folder, "pytest", "-p", "no:cacheprovider", "-p", "gpuprep.pytest_plugin", *arguments)


def statuses(path: Path) -> dict[tuple[str, str], str]:
    """By exercise and item, what a JUnit file says."""
    found = {}
    for case in ET.parse(path).iter("testcase"):  # noqa: S314  our own file
        kinds = {child.tag for child in case} & {"skipped", "failure", "error"}
        status = {"failure": "failed"}.get(kind := next(iter(kinds), "passed"), kind)
        found[case.attrib["classname"].rpartition(".")[2][:5], case.attrib["name"]] = status
    return found


@pytest.fixture(scope="module")
def gym(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which every exercise comes to something else."""
    root = tmp_path_factory.mktemp("content")
    (root / "curriculum.yaml").write_text(YAML)
    for exercise_id in (RIGHT, WRONG, STUB, BROKEN, FAULTY, RAISING):
        scaffold(
            curriculum.load(root), exercise_id, module="00_all", name="double_it", title="Double it", language="triton"
        )
    small = curriculum.load(root)
    folder = tmp_path_factory.mktemp("gym")
    workspace.init(folder, small, curriculum_root=root)

    def path(exercise_id: str) -> Path:
        return folder / small.stub_path(small.exercise(exercise_id)).relative_to(root)

    reference = small.reference_path(small.exercise(RIGHT)).read_text()
    path(RIGHT).write_text(reference)
    path(WRONG).write_text(reference.replace("2 * x, mask", "2 * x + (offsets == 1024), mask"))
    path(BROKEN).write_text("def double_it(x:\n")
    path(FAULTY).write_text(reference)
    small.grader_path(small.exercise(FAULTY)).write_text("raise RuntimeError('no grader')\n")
    path(RAISING).write_text(reference.replace("    out = torch", "    assert x.numel() < 1024\n    out = torch"))
    return folder


@pytest.fixture(scope="module")
def checked(gym: Path) -> dict[str, Any]:
    """What `gpuprep check --all` finds, by exercise."""
    ran = run(gym, "gpuprep", "check", "--all", "--json")
    return {report["exercise_id"]: report for report in json.loads(ran.stdout)["reports"]}


@pytest.fixture(scope="module")
def tested(gym: Path) -> tuple[subprocess.CompletedProcess[str], dict[tuple[str, str], str]]:
    """What pytest finds."""
    junit = gym / ".gpuprep" / "junit.xml"
    ran = pytest_in(gym, f"--junitxml={junit}")
    return ran, statuses(junit)


def test_outcomes_are_those_of_check_all(checked: Any, tested: Any) -> None:
    """Each verdict comes to what `gpuprep check --all` says of the exercise."""
    _, found = tested
    verdicts = {exercise_id: status for (exercise_id, name), status in found.items() if name == "verdict"}
    outcomes = {exercise_id: report["outcome"] for exercise_id, report in checked.items()}
    assert outcomes[RIGHT] in ("PROVISIONAL", "PASSED")
    assert outcomes | {RIGHT: ""} == {
        RIGHT: "",
        WRONG: "WRONG_VALUES",
        STUB: "NOT_STARTED",
        BROKEN: "COMPILE_FAILED",
        FAULTY: "GRADER_FAULT",
        RAISING: "RAISED",
    }
    wanted = {
        key: "error" if outcome == "GRADER_FAULT" else STATUS.get(outcome, "failed")
        for key, outcome in outcomes.items()
    }
    assert verdicts == wanted


def test_cases_are_those_of_check_all(checked: Any, tested: Any) -> None:
    """As many cases pass and fail as in the report, under the report's names where those are fixed."""
    _, found = tested
    for exercise_id in (RIGHT, WRONG, RAISING):
        items = {name: status for (of, name), status in found.items() if of == exercise_id and name != "verdict"}
        cases = {case["name"]: case["outcome"] for case in checked[exercise_id]["cases"] if case["device"] == "cpu"}
        n_passed = sum(outcome == "PASSED" for outcome in cases.values())
        assert sum(status == "passed" for status in items.values()) == n_passed
        assert sum(status == "failed" for status in items.values()) == len(cases) - n_passed
        assert items["n=1025 float32"] == ("passed" if cases["n=1025 float32"] == "PASSED" else "failed")
        assert "n=random float32" in items


def test_what_was_not_run_is_skipped(tested: Any) -> None:
    """A stub's cases, and those of a file that can't be imported, are skipped with the reason and never passed."""
    ran, found = tested
    assert {status for (of, _), status in found.items() if of == STUB} == {"skipped"}
    assert {status for (of, name), status in found.items() if (of, name) != (BROKEN, "verdict") and of == BROKEN} == {
        "skipped"
    }
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED


def test_summary_names_provisional_passes(tested: Any, checked: Any) -> None:
    """A pass without its speed is named below the dots."""
    ran, _ = tested
    is_provisional = checked[RIGHT]["outcome"] == "PROVISIONAL"
    assert ("PROVISIONAL pass: speed not graded" in ran.stdout) == is_provisional
    assert "checks are recorded" in ran.stdout


def test_pages_instead_of_tracebacks(tested: Any) -> None:
    """A failure shows what `gpuprep check` shows, not the plugin's own lines."""
    ran, _ = tested
    assert "likely cause" in ran.stdout
    assert "next: gpuprep hint ex_02" in ran.stdout
    assert "pytest_plugin.py" not in ran.stdout


def test_a_case_alone(gym: Path) -> None:
    """`-k` picks exercises and cases; only what was picked is shown, and one check is behind it."""
    ran = pytest_in(gym, "-k", "ex_02 and 1025 and offset", "-q")
    assert "1 failed" in ran.stdout
    assert f"{WRONG}_double_it.py" in ran.stdout


def test_nothing_failed_is_not_said_of_a_failed_check(gym: Path) -> None:
    """A case that could not run fails where no verdict was asked for: else nothing would tell."""
    ran = pytest_in(gym, "-k", "ex_04 and 1023", "-q")
    assert "1 failed" in ran.stdout
    assert "COMPILE_FAILED" in ran.stdout


def test_stops_at_the_first_failure(gym: Path) -> None:
    """`-x` stops there, before other exercises are checked."""
    ran = pytest_in(gym, "-x", "-q", "-k", "ex_02 or ex_06")
    assert "1 failed" in ran.stdout
    assert f"{RAISING}_double_it.py" not in ran.stdout


def test_learners_file_is_not_imported_by_pytest(gym: Path) -> None:
    """A file that is named as an argument is collected as an exercise, and by nobody else."""
    path = next((gym / "exercises").rglob(f"{BROKEN}_*.py"))
    ran = pytest_in(gym, "--collect-only", "-q", str(path))
    assert ran.returncode == 0, ran.stdout
    assert f"{path.name}::verdict" in ran.stdout


def test_collecting_again_needs_no_torch(gym: Path) -> None:
    """The names of the cases are kept, so that an editor's list comes at once."""
    pytest_in(gym, "--collect-only", "-q", "-k", RIGHT)
    code = (
        "import sys, pytest; code = pytest.main(['-p', 'no:cacheprovider', '-p', 'gpuprep.pytest_plugin', '-q',"
        " '--collect-only', '-k', 'ex_01']); print(int(code), 'torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ran = subprocess.run([sys.executable, "-c", code], cwd=gym, env=environment, capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == "0 False"
    assert "ex_01_double_it.py::n=random float32" in ran.stdout


def test_one_worker_for_an_exercise(gym: Path) -> None:
    """Under pytest-xdist the items of a file stay together, and the notes still reach the summary."""
    ran = pytest_in(gym, "-p", "xdist.plugin", "-n", "1", "-k", f"{RIGHT} or {STUB}", "-q")
    assert ran.returncode == 0, ran.stdout
    assert "failed" not in ran.stdout
    assert "_double_it.py" in ran.stdout or "no GPU" not in ran.stdout


def test_broken_workspace(tmp_path: Path) -> None:
    """A workspace whose curriculum is gone is an error with the next step, not a crash of pytest."""
    (tmp_path / "exercises").mkdir()
    (tmp_path / "exercises" / "ex_01_x.py").touch()
    (tmp_path / ".gpuprep").mkdir()
    state = {"version": 1, "curriculum": str(tmp_path / "gone"), "plan": None, "shipped": {}}
    (tmp_path / ".gpuprep" / "workspace.json").write_text(json.dumps(state))
    ran = pytest_in(tmp_path, "-q")
    assert ran.returncode == pytest.ExitCode.INTERRUPTED
    assert "can't be read" in ran.stdout
    assert "INTERNALERROR" not in ran.stdout + ran.stderr


def test_outside_a_workspace(tmp_path: Path) -> None:
    """Elsewhere files named like exercises are nobody's, and neither torch nor YAML is loaded."""
    (tmp_path / "ex_01_mine.py").write_text("raise SystemExit\n")
    (tmp_path / "test_ex.py").write_text(
        "import sys\n\ndef test_light():\n"
        "    ours = [name for name in sys.modules if name.startswith('gpuprep')]\n"
        "    assert sorted(ours) == ['gpuprep', 'gpuprep.pytest_plugin']\n"
        "    assert not {'torch', 'yaml', 'numpy', 'triton'} & set(sys.modules)\n"
    )
    ran = pytest_in(tmp_path, "-q")
    assert ran.returncode == 0, ran.stdout
    assert "1 passed" in ran.stdout
    assert "gpuprep" not in ran.stdout


def test_plugin_is_registered() -> None:
    """pytest finds the plugin by its entry point."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"gpuprep": "gpuprep.pytest_plugin"}
