"""What `classroom export` writes, run as others run it: Gradescope's zip in its layout, GitHub's steps in order."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from gpuprep.classroom.export import TEMPLATES, Exported, Order, github, gradescope
from gpuprep.curriculum import Curriculum
from gpuprep.errors import CurriculumError, UsageError
from gpuprep.render.export import exported_document, exported_page

CHECKOUT = Path(__file__).resolve().parent.parent
SCRIPTS = Path(sys.executable).parent
SCHEMA = json.loads((CHECKOUT / "tests" / "schemas" / "gradescope.schema.json").read_text(encoding="utf-8"))
HOMEWORK = "title: Homework\nexercises: [ex_01, ex_02]\ndue: 2026-03-01T23:59+01:00\n"
METADATA = {"id": 4711, "created_at": "2026-03-02T14:22:32.365935-08:00", "users": [{"name": "A", "email": "a@b.c"}]}
WORKFLOWS = (".github/workflows/gpuprep.yml", ".github/workflows/gpuprep-gpu.yml")
CALLER = "student/.github/workflows/gpuprep.yml"
EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")


@pytest.fixture
def order(tmp_path: Path, curriculum: Curriculum) -> Order:
    """An assignment to export."""
    (tmp_path / "hw.yaml").write_text(HOMEWORK)
    return Order(tmp_path / "hw.yaml", curriculum)


class Container:
    """A folder that is laid out as Gradescope's `/autograder`."""

    def __init__(self, root: Path, packed: Path) -> None:
        self.root = root
        self.results = root / "results" / "results.json"
        self.scratch = root.parent / "tmp"
        for folder in (*(root / name for name in ("source", "submission", "results")), self.scratch):
            folder.mkdir(parents=True)
        with zipfile.ZipFile(packed) as archive:
            for member in archive.infolist():
                archive.extract(member, root / "source")
                (root / "source" / member.filename).chmod(member.external_attr >> 16)
        shutil.copy(root / "source" / "run_autograder", root)
        (root / "submission_metadata.json").write_text(json.dumps(METADATA))

    def install(self, program: str | None = None) -> None:
        """The test environment's gpuprep, or a shell script in its place."""
        path = self.root / "venv" / "bin" / "gpuprep"
        path.parent.mkdir(parents=True)
        if program is None:
            path.symlink_to(SCRIPTS / "gpuprep")
        else:
            path.write_text(f"#!/bin/sh\n{program}\n")
            path.chmod(0o755)

    def limit(self, limit_s: float) -> None:
        """Another time limit."""
        path = self.root / "source" / "settings.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "limit_s": limit_s}))

    def run(self, *, before: Callable[[], None] | None = None) -> dict[str, Any]:
        """Grade, and read the results as Gradescope would."""
        ran = subprocess.run(
            [self.root / "run_autograder"],
            cwd=self.root,
            env={**clean_environment(), "AUTOGRADER_ROOT": str(self.root), "TMPDIR": str(self.scratch)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            preexec_fn=before,
        )
        self.printed = ran.stdout + ran.stderr
        content = json.loads(self.results.read_text(encoding="utf-8"), parse_constant=pytest.fail)
        jsonschema.Draft202012Validator(SCHEMA).validate(content)
        assert isinstance(content, dict)
        return content


def clean_environment(*names: str) -> dict[str, str]:
    """Nothing of this checkout's; the named variables, and where pip looks for packages, are left."""
    return {
        key: value
        for key, value in os.environ.items()
        if key in ("PATH", "HOME", "LANG", "TMPDIR", *names) or key.startswith(("PIP_", "SSL_"))
    }


@pytest.fixture
def container(tmp_path: Path, order: Order) -> Container:
    """A container for that assignment, without gpuprep."""
    gradescope(tmp_path / "autograder.zip", order)
    return Container(tmp_path / "autograder", tmp_path / "autograder.zip")


def hand_in(folder: Path, curriculum: Curriculum) -> None:
    """A solution of ex_01, and the stub of ex_02."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(curriculum.reference_path(curriculum.exercise("ex_01")), folder)
    shutil.copy(curriculum.stub_path(curriculum.exercise("ex_02")), folder)


# --- Gradescope's zip ------------------------------------------------------------------------------------------------


def test_zip_is_what_gradescope_wants(tmp_path: Path, order: Order) -> None:
    """The two programs lie at its top and may be run, the assignment is as it was, and gpuprep's version is pinned."""
    made = gradescope(tmp_path / "a.zip", order, required_sandbox="landlock", minutes=20)
    with zipfile.ZipFile(made.path) as archive:
        modes = {member.filename: member.external_attr >> 16 for member in archive.infolist()}
        settings = json.loads(archive.read("settings.json"))
        pins = archive.read("constraints.txt").decode().splitlines()
        assert archive.read("assignment.yaml").decode() == HOMEWORK
    assert tuple(modes) == made.files
    assert {name for name, mode in modes.items() if mode & 0o111} == {"setup.sh", "run_autograder"}
    assert settings == {"limit_s": 19 * 60, "required_sandbox": "landlock", "needs_compiler": False}
    assert {line.split("==")[0] for line in pins if "==" in line} >= {"torch", "numpy", "gpuprep"}


def test_zip_is_reproducible(tmp_path: Path, order: Order) -> None:
    """The same order gives the same bytes, whenever it is packed."""
    first = gradescope(tmp_path / "a.zip", order).path.read_bytes()
    os.utime(order.assignment_path, (0, 0))
    assert gradescope(tmp_path / "b.zip", order).path.read_bytes() == first


def test_a_compiler_is_asked_for_where_cuda_is(tmp_path: Path, curriculum: Curriculum) -> None:
    """Exercises in CUDA C need g++ in the container, others don't."""
    (tmp_path / "hw.yaml").write_text("title: CUDA\nexercises: [ex_16]\n")
    made = gradescope(tmp_path / "a.zip", Order(tmp_path / "hw.yaml", curriculum))
    with zipfile.ZipFile(made.path) as archive:
        assert json.loads(archive.read("settings.json"))["needs_compiler"] is True


def test_a_curriculum_goes_along_without_its_solutions(tmp_path: Path, curriculum: Curriculum) -> None:
    """Graders and stubs are needed to grade, references aren't."""
    (tmp_path / "hw.yaml").write_text(HOMEWORK)
    order = Order(tmp_path / "hw.yaml", curriculum, has_own_curriculum=True)
    names = gradescope(tmp_path / "a.zip", order).files
    assert {"curriculum/curriculum.yaml", "curriculum/graders/00_foundations/ex_01_vector_add.py"} <= set(names)
    assert not [name for name in names if "reference" in name or "__pycache__" in name or name.endswith(".pyc")]


def test_a_wheel_goes_along(tmp_path: Path, order: Order, curriculum: Curriculum) -> None:
    """A wheel of gpuprep is packed and its own version is pinned; any other file is refused."""
    wheel = tmp_path / "gpuprep-7.8.9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("gpuprep/content/curriculum.yaml", "")
    made = gradescope(tmp_path / "a.zip", Order(order.assignment_path, curriculum, wheel=wheel))
    assert wheel.name in made.files
    assert made.installs == wheel.name
    with zipfile.ZipFile(made.path) as archive:
        assert archive.read("constraints.txt").decode().splitlines()[-1] == "gpuprep==7.8.9"
    for other in (tmp_path / "torch-2.0-py3-none-any.whl", tmp_path / "gpuprep-1.0-py3-none-any.whl"):
        with zipfile.ZipFile(other, "w") as archive:
            archive.writestr("x", "")
        with pytest.raises(UsageError, match="no wheel of gpuprep"):
            gradescope(tmp_path / "b.zip", Order(order.assignment_path, curriculum, wheel=other))
    assert not (tmp_path / "b.zip").exists()


def test_nonsense_is_refused(tmp_path: Path, order: Order, curriculum: Curriculum) -> None:
    """A time limit that Gradescope hasn't, a folder for a zip, a repository without an owner, an unknown exercise."""
    for minutes in (0, 41):
        with pytest.raises(UsageError, match="time limit"):
            gradescope(tmp_path / "a.zip", order, minutes=minutes)
    with pytest.raises(UsageError, match="zip"):
        gradescope(tmp_path / "a", order)
    with pytest.raises(UsageError, match="no repository"):
        github(tmp_path / "repo", order, repository="https://github.com/a/b")
    (tmp_path / "bad.yaml").write_text("title: Bad\nexercises: [ex_99]\n")
    with pytest.raises(CurriculumError):
        gradescope(tmp_path / "a.zip", Order(tmp_path / "bad.yaml", curriculum))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.yaml", "hw.yaml"]


def test_hidden_shapes_stay_out_of_a_public_repository(tmp_path: Path, curriculum: Curriculum) -> None:
    """Nothing is written there; seeds are drawn anew anyway, and a zip for Gradescope is the instructor's."""
    hidden = {"seeds": "{seeds: 1}", "shapes": "{shapes: {ex_01: [{n: 12345}]}}"}
    orders = {}
    for name, value in hidden.items():
        (tmp_path / f"{name}.yaml").write_text(f"title: H\nexercises: [ex_01]\nhidden: {value}\n")
        orders[name] = Order(tmp_path / f"{name}.yaml", curriculum)
    with pytest.raises(UsageError, match="hidden shapes"):
        github(tmp_path / "repo", orders["shapes"])
    assert not (tmp_path / "repo").exists()
    assert github(tmp_path / "repo", orders["seeds"]).files
    assert gradescope(tmp_path / "a.zip", orders["shapes"]).files


# --- and run in its layout -------------------------------------------------------------------------------------------


def test_gradescope_grades(container: Container, curriculum: Curriculum) -> None:
    """A solution has its points, a stub none, speed is pending, and Gradescope's own time of handing in counts."""
    hand_in(container.root / "submission", curriculum)
    container.install()
    results = container.run()
    assert results["score"] == pytest.approx(2 / 3)
    scores = {test["name"]: test.get("score") for test in results["tests"]}
    assert [score for name, score in scores.items() if "ex_01" in name and "speed" not in name] == pytest.approx(
        [1 / 3] * 2
    )
    assert [score for name, score in scores.items() if "ex_02" in name and score] == []
    assert results["extra_data"]["days_late"] == 1
    assert "4711" in container.printed
    assert sorted(path.name for path in (container.root / "results").iterdir()) == ["results.json"]
    assert not list(container.scratch.iterdir())


def answering(text: str) -> str:
    """A gpuprep that grades well, and whose `results` writes this into the file that its last argument names."""
    return f"""test "$1" = grade || {{ for last; do :; done; printf %s {shlex.quote(text)} > "$last"; }}"""


FAULTS = {
    "missing": None,
    "crash": "echo Traceback >&2; exit 1",
    "refused": "exit 2",
    "hangs": "trap '' TERM; sleep 60",
    "no results": 'test "$1" = grade',
    "garbage": answering("{"),
    "nan": answering('{"score": NaN}'),
    "a list": answering("[]"),
    "nothing graded": answering('{"score": 0, "tests": [{"name": "a"}]}'),
    "kills": "kill -KILL $PPID",
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_never_a_zero(kind: str, container: Container) -> None:
    """Whatever becomes of gpuprep, Gradescope gets a result that it can read: whose fault it is, and no score."""
    program = FAULTS[kind]
    if program is not None:
        container.install(program)
    if kind == "hangs":
        container.limit(0.5)
        script = container.root / "run_autograder"
        script.write_text(script.read_text().replace("GRACE_S = 10", "GRACE_S = 0.2"))
    started = time.monotonic()
    results = container.run()
    assert time.monotonic() - started < 20
    assert "score" not in results
    assert results["tests"] == []
    assert "not your submission's fault" in results["output"]
    assert results["extra_data"]["gpuprep"]["is_grader_fault"] is True


def test_a_full_disk_leaves_the_first_result(container: Container) -> None:
    """What can't be written whole replaces nothing."""

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    small, large = ({"score": 1, "output": "x" * length, "tests": []} for length in (1500, 2500))
    container.install(answering(json.dumps(small)))
    assert container.run(before=fill) == small
    fake = container.root / "venv" / "bin" / "gpuprep"
    fake.write_text(f"#!/bin/sh\n{answering(json.dumps(large))}\n")
    assert container.run() == large
    assert "score" not in container.run(before=fill)


def test_unreadable_settings_are_a_fault(container: Container) -> None:
    """So is an exception in our own script; what it says is for staff, not for a student."""
    container.install()
    (container.root / "source" / "settings.json").write_text("{")
    results = container.run()
    assert "score" not in results
    assert "settings" not in results["output"]
    assert "JSONDecodeError" in container.printed


def test_metadata_may_be_missing(container: Container) -> None:
    """Nobody loses points for it: those on Gradescope are before any penalty."""
    container.install(answering('{"score": 1, "tests": []}'))
    (container.root / "submission_metadata.json").write_text('{"created_at": 3}')
    assert container.run()["score"] == 1
    assert "--submitted" not in container.printed


# --- GitHub's workflows ----------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path, order: Order) -> Exported:
    """The instructor's repository, with workflows."""
    return github(tmp_path / "repository", order, repository="course/hw1")


def workflow(made: Exported, name: str) -> Mapping[str, Any]:
    """A workflow, read."""
    read = yaml.safe_load((made.path / name).read_text(encoding="utf-8"))
    assert isinstance(read, dict)
    return read


def test_workflows_are_valid(repository: Exported) -> None:
    """By the JSON schema of GitHub's workflows."""
    files = [repository.path / name for name in (*WORKFLOWS, CALLER)]
    command = [SCRIPTS / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("name", [*WORKFLOWS, CALLER])
def test_workflows_trust_nobody(repository: Exported, name: str) -> None:
    """They may read and nothing else, know no secret, pin what they use, and paste nothing into a script."""
    text, read = (repository.path / name).read_text(), workflow(repository, name)
    assert read["permissions"] == {"contents": "read"}
    assert "pull_request" not in text
    assert "secrets." not in text
    for job in read["jobs"].values():
        assert "permissions" not in job
        assert "uses" in job or job["timeout-minutes"] <= 60
        for step in job.get("steps", ()):
            assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step.get("uses", f"actions/x@{'0' * 40}"))
            assert "${{" not in step.get("run", "")
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False


def test_assignment_comes_from_the_instructor(repository: Exported) -> None:
    """What is graded and with what lies in the repository and at the commit that the workflow itself is from."""
    steps = workflow(repository, WORKFLOWS[0])["jobs"]["grade"]["steps"]
    checkouts = {step["with"]["path"]: step["with"] for step in steps if "checkout" in step.get("uses", "")}
    assert checkouts["instructor"]["repository"] == "${{ job.workflow_repository }}"
    assert checkouts["instructor"]["ref"] == "${{ job.workflow_sha }}"
    (grade,) = [step["run"] for step in steps if step["name"] == "Grade"]
    assert "--assignment instructor/grading/assignment.yaml" in grade
    assert workflow(repository, CALLER)["jobs"]["gpuprep"]["uses"] == f"course/hw1/{WORKFLOWS[0]}@main"


def test_own_runner_grades_in_the_full_sandbox_alone(repository: Exported) -> None:
    """Nothing that a student does starts it, one job runs a card, and below the full sandbox nothing is graded."""
    read = workflow(repository, WORKFLOWS[1])
    assert set(read[True]) == {"workflow_dispatch"}  # YAML reads `on` as true
    assert read["concurrency"]["cancel-in-progress"] is False
    assert read["jobs"]["grade"]["strategy"]["max-parallel"] == 1
    (grade,) = [step["run"] for step in read["jobs"]["grade"]["steps"] if step["name"] == "Grade"]
    assert "--require-sandbox full" in grade
    assert "--device cuda" in grade


def test_a_second_export_keeps_what_was_changed_by_hand(tmp_path: Path, order: Order, repository: Exported) -> None:
    """An edited workflow stays, the assignment is replaced, and an older wheel goes."""
    edited = repository.path / WORKFLOWS[0]
    edited.write_text(edited.read_text().replace("ubuntu-latest", "ubuntu-24.04"))
    (repository.path / "grading" / "gpuprep-0.0.1-py3-none-any.whl").write_bytes(b"")
    order.assignment_path.write_text(HOMEWORK.replace("Homework", "Other"))
    again = github(repository.path, order, repository="course/hw1")
    assert again.kept == (WORKFLOWS[0],)
    assert "ubuntu-24.04" in edited.read_text()
    assert "Other" in (repository.path / "grading" / "assignment.yaml").read_text()
    assert not list((repository.path / "grading").glob("*.whl"))
    assert "was left as it is" in " ".join(exported_page(again).text().split())


def test_result_says_what_is_left_to_do(tmp_path: Path, order: Order, repository: Exported) -> None:
    """Without a name for the repository it says where to put it; a machine gets the files."""
    unnamed = github(tmp_path / "other", order)
    assert "OWNER/REPOSITORY" in exported_page(unnamed).text()
    assert "OWNER/REPOSITORY" not in exported_page(repository).text()
    assert exported_document(unnamed)["repository"] is None
    assert set(exported_document(unnamed)["files"]) >= {*WORKFLOWS, CALLER}


@pytest.mark.parametrize("name", ["setup.sh", *WORKFLOWS])
def test_scripts_pass_shellcheck(name: str, repository: Exported) -> None:
    """setup.sh, and each step of a workflow."""
    if name == "setup.sh":
        scripts = [(TEMPLATES / "gradescope" / name).read_text()]
    else:
        jobs = workflow(repository, name)["jobs"].values()
        scripts = [f"#!/bin/bash\n{step['run']}" for job in jobs for step in job["steps"] if "run" in step]
    for script in scripts:
        command = [SCRIPTS / "shellcheck", "--enable=quote-safe-variables", "-"]
        ran = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout


# --- all of it, for real ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", folder, CHECKOUT]
    built = subprocess.run(command, cwd=folder, env=clean_environment(), capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.mark.soak
def test_setup_installs_and_grades(tmp_path: Path, wheel: Path, curriculum: Curriculum) -> None:
    """setup.sh makes an environment of its own from the wheel in the zip, in which run_autograder grades."""
    (tmp_path / "hw.yaml").write_text(HOMEWORK)
    gradescope(tmp_path / "a.zip", Order(tmp_path / "hw.yaml", curriculum, wheel=wheel), required_sandbox="landlock")
    container = Container(tmp_path / "autograder", tmp_path / "a.zip")
    ran = subprocess.run(
        [container.root / "source" / "setup.sh"],
        env={**clean_environment(), "AUTOGRADER_ROOT": str(container.root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "== ready" in ran.stdout
    python = container.root / "venv" / "bin" / "python"
    asked = [python, "-c", "import torch; print(torch.__version__, torch.version.cuda)"]
    told = subprocess.run(asked, env=clean_environment(), capture_output=True, text=True, check=True).stdout
    pin = next(line for line in (CHECKOUT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    assert told.startswith(pin.removeprefix("torch=="))
    assert told.split()[1] == "None"
    hand_in(container.root / "submission", curriculum)
    assert container.run()["score"] == pytest.approx(2 / 3)


class Runner:
    """Runs the steps of a job as GitHub's runner does, but for actions: what those bring is there already."""

    def __init__(self, root: Path, context: Mapping[str, str], path: str) -> None:
        self.root, self.context = root, dict(context)
        self.environment = {**clean_environment(), "PATH": path, "RUNNER_TOOL_CACHE": str(root / "tools")}

    def run(self, steps: list[Mapping[str, Any]]) -> str:
        """What the steps printed, one after the other.

        A step fails the test unless it ends well.
        """
        printed = ""
        for step in (step for step in steps if "run" in step and "if" not in step):
            output, summary = self.root / "output", self.root / "summary.md"
            added = {"GITHUB_OUTPUT": output, "GITHUB_STEP_SUMMARY": summary, "GITHUB_PATH": self.root / "path"}
            output.write_text("")
            named = {key: self.value(text) for key, text in step.get("env", {}).items()}
            environment = {**self.environment, **named, **{key: str(path) for key, path in added.items()}}
            command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]]
            ran = subprocess.run(
                command, cwd=self.root, env=environment, capture_output=True, text=True, check=False, timeout=900
            )
            printed += ran.stdout + ran.stderr
            assert ran.returncode == 0, f"{step['name']}: {printed}"
            for line in output.read_text().splitlines():
                key, _, value = line.partition("=")
                self.context[f"steps.{step.get('id')}.outputs.{key}"] = value
        return printed

    def value(self, text: str) -> str:
        """An expression's, `a || b` at most."""

        def replaced(match: re.Match[str]) -> str:
            names = match[1].split(" || ")
            return next((self.context[name] for name in names if self.context.get(name)), "")

        return EXPRESSION.sub(replaced, text)


@pytest.mark.soak
def test_workflow_runs(tmp_path: Path, wheel: Path, curriculum: Curriculum) -> None:
    """Its steps, in a clean folder and a new environment: installed, graded, shown, told to an autograding reporter."""
    (tmp_path / "hw.yaml").write_text(HOMEWORK)
    made = github(tmp_path / "job" / "instructor", Order(tmp_path / "hw.yaml", curriculum, wheel=wheel))
    folder = tmp_path / "job" / "submission" / "exercises" / "00_foundations"
    hand_in(folder, curriculum)
    (folder / "ex_02_reduction.py").write_text("def total(x):\n    raise ValueError(x.shape)\n")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], env=clean_environment(), check=True)
    context = {
        "github.repository": "course/hw1-ada",
        "github.event_name": "push",
        "github.event.repository.pushed_at": "1772470800",  # 2026-03-02T17:00Z
    }
    runner = Runner(tmp_path / "job", context, f"{tmp_path / 'env' / 'bin'}:{os.environ['PATH']}")
    printed = runner.run(workflow(made, WORKFLOWS[0])["jobs"]["grade"]["steps"])
    assert runner.context["steps.time.outputs.submitted"] == "2026-03-02T17:00:00Z"
    assert runner.context["steps.grade.outputs.code"] == "0"
    assert runner.context["steps.results.outputs.result"]
    assert "::error file=exercises/00_foundations/ex_02_reduction.py,line=2," in printed
    assert "course/hw1-ada" in (runner.root / "graded" / "scores.csv").read_text()
    assert list((runner.root / "feedback").rglob("*.html"))
    assert (runner.root / "summary.md").read_text()
