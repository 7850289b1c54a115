"""The wheel alone is enough: no clone, no editable install."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
TREES = ("exercises", "reference", "graders")
SOLUTION = Path("00_foundations/ex_01_vector_add.py")

pytestmark = pytest.mark.soak


def run(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that sees nothing of this checkout."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, by way of its source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    built = run([sys.executable, "-m", "build", "--outdir", folder, CHECKOUT], folder)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_wheel_holds_the_curriculum(wheel: Path) -> None:
    """Every exercise file, the YAML and the templates are in it; tests, wrong solutions and leftovers are not."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    shipped = {path for tree in TREES for path in (CHECKOUT / tree).rglob("*") if path.suffix in (".py", ".cu", ".md")}
    rooms = ("authoring", "classroom")
    templates = [path for room in rooms for path in (CHECKOUT / "gpuprep" / room / "templates").rglob("*.*")]
    wanted = {
        "gpuprep/content/curriculum.yaml",
        "gpuprep/content/constraints.txt",
        "gpuprep/classroom/templates/gradescope/run_autograder",
        *(f"gpuprep/content/{path.relative_to(CHECKOUT).as_posix()}" for path in shipped),
        *(path.relative_to(CHECKOUT).as_posix() for path in templates),
    }
    assert wanted <= names
    assert not [name for name in names if "tests/" in name or "wrong" in Path(name).parts or name.endswith(".pyc")]
    assert all(name.startswith("gpuprep/") or ".dist-info/" in name for name in names)


def test_installed_wheel_grades(wheel: Path, tmp_path: Path) -> None:
    """In a new environment: init, the stub is NOT_STARTED, the reference passes, and an author's tools are there."""
    venv.create(tmp_path / "env", with_pip=True)
    scripts = tmp_path / "env" / "bin"
    install = [scripts / "python", "-m", "pip", "install", "--quiet", "-c", CHECKOUT / "constraints.txt", wheel]
    installed = run(install, tmp_path)
    assert installed.returncode == 0, installed.stderr
    assert run([scripts / "gpuprep", "init", "gym"], tmp_path).returncode == 0

    gym = tmp_path / "gym"
    stub = run([scripts / "gpuprep", "check", "ex_01"], gym)
    assert stub.returncode == 1
    assert "NOT_STARTED" in stub.stdout

    shutil.copyfile(CHECKOUT / "reference" / SOLUTION, gym / "exercises" / SOLUTION)
    passed = run([scripts / "gpuprep", "check", "ex_01"], gym)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "PROVISIONAL" in passed.stdout or "PASSED" in passed.stdout

    curriculum = CHECKOUT / "curriculum.yaml"
    author = tmp_path / "author"
    author.mkdir()
    shutil.copyfile(curriculum, author / "curriculum.yaml")
    made = run([scripts / "gpuprep", "dev", "new", "ex_46", "row_sum", "--module", "00_foundations"], author)
    assert made.returncode == 0, made.stderr
