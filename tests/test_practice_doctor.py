"""What `doctor` finds, on this machine and on machines where things are missing or broken."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gpuprep.practice import canaries, doctor, installs
from gpuprep.practice.canaries import Ran
from gpuprep.practice.doctor import Checkup, CheckupItem, Status, diagnose

PACKAGE_PARENT = Path(doctor.__file__).resolve().parents[2]
CARD = "NVIDIA H200, 570.86.15\n"


class Machine:
    """A made-up machine: which programs and packages it has, and what its processes answer."""

    def __init__(self) -> None:
        self.programs: dict[str, str] = {}
        self.packages: dict[str, str] = {}
        self.torch: dict[str, object] = {"cuda": None, "hip": None, "gpus": []}
        self.torch_problem = ""
        self.counters: dict[str, object] = {"problem": "", "fix": None}
        self.nvidia_smi = Ran(CARD, "")
        self.canary_problems: dict[str, str] = {}
        self.ran: list[str] = []

    def run_process(self, arguments: Sequence[str], environment: Mapping[str, str]) -> Ran:
        """Stands in for every process but the canaries."""
        command = " ".join(arguments)
        if arguments[0] == "nvidia-smi":
            return self.nvidia_smi
        if "torch.cuda" in command:
            return Ran("a banner\n" + json.dumps(self.torch), self.torch_problem)
        if "check_supported" in command:
            return Ran(json.dumps(self.counters), "")
        return Ran("g++ 12.2\n", "")

    def run_canary(self, canary: canaries.Canary) -> str:
        """Stands in for the canaries."""
        self.ran.append(canary.name)
        return self.canary_problems.get(canary.name, "")

    def with_card(self) -> Machine:
        """With an NVIDIA card, its driver and a torch that can use it."""
        self.programs["nvidia-smi"] = "/usr/bin/nvidia-smi"
        self.packages["torch"] = "2.13.0+cu128"
        self.torch = {"cuda": "12.8", "hip": None, "gpus": ["NVIDIA H200"]}
        return self


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A healthy machine without a GPU; a test takes away what it is about."""
    made_up = Machine()
    made_up.programs = {"g++": "/usr/bin/g++", "apt-get": "/usr/bin/apt-get"}
    made_up.packages = {"torch": "2.13.0+cpu", "triton": "3.9.0"}

    def version(name: str) -> str:
        if name not in made_up.packages:
            raise installs.metadata.PackageNotFoundError(name)
        return made_up.packages[name]

    monkeypatch.setattr(installs.metadata, "version", version)
    monkeypatch.setattr(doctor.shutil, "which", made_up.programs.get)
    monkeypatch.setattr(doctor, "run_process", made_up.run_process)
    monkeypatch.setattr(doctor, "run_canary", made_up.run_canary)
    monkeypatch.setattr(doctor, "run_compiler", lambda path: "")
    monkeypatch.setattr(doctor.platform, "system", lambda: "Linux")
    return made_up


def _found() -> dict[str, CheckupItem]:
    return {item.name: item for item in diagnose().items}


def test_this_machine_is_examined_for_real() -> None:
    """With the project's environment, Python, torch, Triton and their canaries are right, and all is named."""
    found = _found()

    for name in ("Python", "torch", "Triton", "Triton in the interpreter", "torch.distributed (gloo)"):
        assert found[name].status is Status.OK, found[name]
    assert found["g++"].status is (Status.OK if shutil.which("g++") else Status.MISSING), found["g++"]
    for name in ("GPU", "GPU driver", "CuPy", "Triton on the GPU", "CuPy on the GPU", "Sandbox"):
        assert name in found


def test_without_torch_doctor_still_works() -> None:
    """In an interpreter that sees no installed package, doctor names them with the lines that install them."""
    program = (
        "from gpuprep.practice.doctor import diagnose\n"
        "import json\n"
        "print(json.dumps({i.name: [i.status, i.detail, i.fix] for i in diagnose().items}))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={**os.environ, "PYTHONPATH": str(PACKAGE_PARENT)},
        capture_output=True,
        text=True,
        check=True,
    )

    found = json.loads(done.stdout)
    assert found["torch"][0] == found["Triton"][0] == found["Triton in the interpreter"][0] == "missing"
    assert found["torch"][2].startswith("pip install 'torch")
    assert found["Python"][0] == "ok"


def test_a_machine_without_a_gpu_is_healthy(machine: Machine) -> None:
    """What needs a card is noted with the reason, never ok, and nothing must be mended."""
    found = _found()

    assert diagnose().is_healthy
    for name in ("GPU", "GPU driver", "CuPy", "Triton on the GPU", "CuPy on the GPU"):
        assert found[name].status is Status.NOTE
        assert "GPU" in found[name].detail
    assert "Triton on the GPU" not in machine.ran


def test_a_machine_with_a_card_runs_all_canaries(machine: Machine) -> None:
    """The card, its driver and torch's build are named, and every back end is tried."""
    machine.with_card().packages["cupy-cuda12x"] = "13.6.0"

    found = _found()

    assert diagnose().is_healthy
    assert "H200" in found["GPU"].detail
    assert "570.86.15" in found["GPU driver"].detail
    assert "CUDA 12.8" in found["torch"].detail
    assert "cupy-cuda12x 13.6.0" in found["CuPy"].detail
    assert {canary.name for canary in (*canaries.PYTHON_CANARIES, canaries.EMULATOR)} == set(machine.ran)


def test_a_card_without_nvidia_smi_is_found_through_torch(machine: Machine) -> None:
    """Containers often have the card without the tool."""
    machine.with_card().programs.pop("nvidia-smi")

    found = _found()

    assert found["GPU"].status is found["GPU driver"].status is Status.OK
    assert found["Triton on the GPU"].status is Status.OK


@pytest.mark.parametrize(
    ("take_away", "name", "fix"),
    [
        (lambda m: m.packages.pop("torch"), "torch", "pip install 'torch"),
        (lambda m: m.packages.pop("torch"), "torch.distributed (gloo)", "pip install 'torch"),
        (lambda m: m.packages.pop("torch"), "Triton", "pip install 'torch"),
        (lambda m: m.packages.pop("triton"), "Triton", "pip install 'triton"),
        (lambda m: m.packages.pop("triton"), "Triton in the interpreter", "pip install 'triton"),
        (lambda m: m.programs.pop("g++"), "g++", "apt install g++"),
        (lambda m: m.with_card(), "CuPy", "pip install 'gpuprep[cuda]'"),
        (lambda m: m.with_card(), "CuPy on the GPU", "pip install 'gpuprep[cuda]'"),
    ],
)
def test_what_is_missing_comes_with_the_line_that_installs_it(
    machine: Machine, take_away: Callable[[Machine], object], name: str, fix: str
) -> None:
    """Every missing part has its exact line, and no canary that lacks a part is run."""
    take_away(machine)

    item = _found()[name]

    assert item.status is Status.MISSING
    assert fix in (item.fix or "")
    assert not diagnose().is_healthy
    assert name not in machine.ran


def test_where_nothing_can_be_emulated_it_is_said(machine: Machine) -> None:
    """On another system, or with an old compiler, the reason is a note: nothing on a GPU is broken by it."""
    said = "gpuprep.cuda.errors.BackEndMissingError: here is Darwin on arm64 (exit code 1)"
    machine.canary_problems["CUDA C in the emulator"] = said

    item = _found()["CUDA C in the emulator"]

    assert item.status is Status.NOTE
    assert item.detail == "CUDA exercises need a GPU here: here is Darwin on arm64"


def test_an_emulator_that_fails_is_the_compilers_business(machine: Machine) -> None:
    """Where the test kernel comes out wrong, the line that mends it is the compiler's, not a package's."""
    machine.canary_problems["CUDA C in the emulator"] = "computed 3"

    item = _found()["CUDA C in the emulator"]

    assert (item.status, item.fix) == (Status.BROKEN, "apt install g++")


def test_the_compiler_line_is_the_systems_own(machine: Machine) -> None:
    """Where there is dnf and no apt-get, the line is dnf's."""
    machine.programs.clear()
    machine.programs["dnf"] = "/usr/bin/dnf"
    assert "dnf install gcc-c++" in (_found()["g++"].fix or "")


def _break_torch(machine: Machine) -> None:
    machine.torch_problem = "ImportError: libc10.so: cannot open shared object file (exit code 1)"


def _cpu_build_beside_a_card(machine: Machine) -> None:
    machine.with_card().torch = {"cuda": None, "hip": None, "gpus": []}


def _old_driver(machine: Machine) -> None:
    machine.with_card().torch = {"cuda": "12.8", "hip": None, "gpus": []}


def _dead_driver(machine: Machine) -> None:
    machine.with_card().nvidia_smi = Ran("", "NVIDIA-SMI has failed (exit code 9)")


def _old_torch(machine: Machine) -> None:
    machine.packages["torch"] = "1.2.0"


def _unknown_triton(machine: Machine) -> None:
    machine.counters = {"problem": "Triton 9.9 is not known", "fix": "pip install 'triton<9'"}


def _wrong_answer(machine: Machine) -> None:
    machine.canary_problems["Triton in the interpreter"] = "computed 7 where the answer is 14850"


@pytest.mark.parametrize(
    ("break_it", "name", "said"),
    [
        (_break_torch, "torch", "libc10"),
        (_cpu_build_beside_a_card, "torch", "H200"),
        (_old_driver, "GPU driver", "12.8"),
        (_dead_driver, "GPU driver", "NVIDIA-SMI"),
        (_old_torch, "torch", "1.2.0"),
        (_unknown_triton, "Triton", "9.9"),
        (_wrong_answer, "Triton in the interpreter", "14850"),
    ],
)
def test_what_is_broken_says_how_and_what_mends_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, break_it: Callable[[Machine], None], name: str, said: str
) -> None:
    """Each broken part is named with what it said and a line to type."""
    monkeypatch.setattr(installs.metadata, "requires", lambda name: ["torch>=2.11", "triton>=3.6; extra == 'x'"])
    break_it(machine)

    item = _found()[name]

    assert item.status is Status.BROKEN
    assert said in item.detail
    assert item.fix
    assert not diagnose().is_healthy


def test_torch_that_cannot_use_the_card_skips_its_canary(machine: Machine) -> None:
    """The Triton canary would only repeat what torch's own line says."""
    _cpu_build_beside_a_card(machine)
    item = _found()["Triton on the GPU"]
    assert item.status is Status.NOTE
    assert "torch" in item.detail


def test_triton_where_there_is_no_build_is_a_note(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS nothing can be installed, so no line pretends to."""
    monkeypatch.setattr(doctor.platform, "system", lambda: "Darwin")
    machine.packages.pop("triton")

    item = _found()["Triton"]

    assert item.status is Status.NOTE
    assert "Darwin" in item.detail


def test_an_old_python_is_broken(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python below the least version is named with the one that is needed."""
    monkeypatch.setattr(doctor, "MIN_PYTHON", (99, 0))
    item = _found()["Python"]
    assert item.status is Status.BROKEN
    assert "99.0" in item.detail


def test_requirements_come_from_the_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    """The versions to install are those that the package asks for; without metadata, the bare name."""
    monkeypatch.setattr(
        installs.metadata,
        "requires",
        lambda name: ["torch-x>=1", "torch >= 2.11", "triton>=3.6 ; platform_system=='Linux'"],
    )
    assert installs.requirement("torch") == "torch>=2.11"
    assert installs.requirement("triton") == "triton>=3.6"
    assert installs.requirement("numpy") == "numpy"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("print('noise'); print(7)", "computed 7"),
        ("pass", "computed nothing"),
        ("raise ImportError('no libfoo')", "no libfoo"),
        ("import os; os.abort()", "signal 6"),
        ("import time; time.sleep(60)", "no answer"),
    ],
)
def test_a_canary_that_sings_wrong_is_heard(monkeypatch: pytest.MonkeyPatch, program: str, said: str) -> None:
    """A wrong answer, none, an exception, a crash and a hang are each told apart, and none takes doctor down."""
    monkeypatch.setattr(canaries, "TIMEOUT_S", 1.0)
    sick = replace(canaries.TRITON_CPU, program=program)
    assert said in canaries.run_canary(sick)


def test_a_canary_with_the_right_answer_is_silent() -> None:
    """Only the last line counts: libraries may print before."""
    well = replace(canaries.TRITON_CPU, program=f"print('a warning')\nprint({canaries.ANSWER})")
    assert canaries.run_canary(well) == ""


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 1", "exit code 1"),
        ("echo 'ld: cannot find -lstdc++' >&2; exit 1", "lstdc++"),
        ("exit 0", "can't be started"),
    ],
)
def test_a_compiler_that_fails_is_heard(tmp_path: Path, script: str, said: str) -> None:
    """A compiler that refuses, and one that writes no program, are broken."""
    compiler = tmp_path / "g++"
    compiler.write_text(f"#!/bin/sh\n{script}\n")
    compiler.chmod(0o755)
    assert said in canaries.run_compiler(str(compiler))


def test_a_missing_part_without_a_fix_cannot_be_built() -> None:
    """Whatever is missing says how to install it, and what is ok needs no mending."""
    with pytest.raises(ValueError, match="missing"):
        CheckupItem("x", Status.MISSING, "not there")
    with pytest.raises(ValueError, match="ok"):
        CheckupItem("x", Status.OK, "there", "pip install x")


def test_notes_do_not_make_a_checkup_ill() -> None:
    """Only what is missing or broken must be mended."""
    note, broken = CheckupItem("x", Status.NOTE, "n"), CheckupItem("y", Status.BROKEN, "b")
    assert Checkup((note,)).is_healthy
    assert not Checkup((note, broken)).is_healthy
