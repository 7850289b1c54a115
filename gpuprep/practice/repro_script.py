"""The text of a repro script: the facts of one failing case, and a body that is always the same."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gpuprep.model import Outcome


@dataclass(frozen=True)
class ReproFacts:
    """What distinguishes one script from another."""

    exercise: str
    case_name: str
    outcome: Outcome
    said: str
    """The check's message."""
    device: str
    """`cpu` or `cuda`: where the case failed."""
    function: str
    learner_file: Path
    driver_file: Path | None
    """Where one call is not the whole exercise: the file whose `drive(module, *inputs)` makes the calls."""
    inputs_name: str
    """The inputs' file, beside the script."""
    is_triton: bool
    is_loud: bool = False
    """It fails only where masked lanes hold large numbers, not NaN."""


_UNSEEN = {
    Outcome.RACE: "the check ran the programs in another order too; here they run in the usual one",
    Outcome.OUT_OF_BOUNDS: "the check follows every address; here nobody does, and an access beside an array may show "
    "no error or end this process",
}
"""What a script can't show of an outcome."""


def script_text(facts: ReproFacts, root: Path) -> str:
    """A script that needs torch and the learner's file only.

    Args:
        facts: the case.
        root: the workspace; the script stands two folders below it and finds files inside it wherever it is moved to.
    """
    interpreter = (
        ['os.environ["TRITON_INTERPRET"] = "1"  # it failed on the CPU; must be set before triton is imported']
        if facts.device == "cpu"
        else ['os.environ.pop("TRITON_INTERPRET", None)  # it failed on the GPU, compiled']
    )
    # Everything that others wrote goes in as a repr: no message can break out of its quotes.
    lines = [
        '"""A failing input, run again. Written by `gpuprep repro`, which overwrites it: copy it to keep changes."""',
        "",
        "import importlib.util",
        "import os",
        "import pdb",
        "import sys",
        "from pathlib import Path",
        "",
        f"EXERCISE = {facts.exercise!r}",
        f"CASE = {facts.case_name!r}",
        f"VERDICT = {_verdict(facts)!r}",
        f"DEVICE = {facts.device!r}",
        f"FUNCTION = {facts.function!r}",
        f"LEARNER_FILE = {_location(facts.learner_file, root)}",
        f"DRIVER_FILE = {_location(facts.driver_file, root)}",
        f"INPUTS_FILE = Path(__file__).with_name({facts.inputs_name!r})",
        "",
        *interpreter,
    ]
    spoils = facts.is_triton and facts.device == "cpu"
    masked_lanes = _MASKED_LANES.format(garbage=_LOUD if facts.is_loud else _NAN) if spoils else ""
    return "\n".join(lines) + "\n" + _HEAD + masked_lanes + _BODY


def _verdict(facts: ReproFacts) -> str:
    said = f"{facts.outcome}: {facts.said}"
    return f"{said} ({_UNSEEN[facts.outcome]})" if facts.outcome in _UNSEEN else said


def _location(path: Path | None, root: Path) -> str:
    if path is None:
        return "None"
    root = root.resolve()
    if path.is_relative_to(root):
        return f"Path(__file__).resolve().parents[2] / {os.fspath(path.relative_to(root))!r}"
    return f"Path({os.fspath(path)!r})"


_HEAD = """
import torch

# Memory that nobody wrote to is NaN, as in the check, instead of whatever was there before.
torch.use_deterministic_algorithms(True, warn_only=True)
torch.utils.deterministic.fill_uninitialized_memory = True
"""

_NAN, _LOUD = '(float("nan"),), (-1,)', "(3e4, -3e4), (0x7149, -0x7149)"
"""What masked lanes hold, floats and integers; as a bfloat16, which the interpreter keeps as bits, 0x7149 is 1e30."""
_MASKED_LANES = '''
# So are lanes that a mask keeps from loading and no `other=` fills: on a card they hold anything.
import warnings

import numpy
from triton.runtime.interpreter import InterpreterBuilder

FLOATS, INTEGERS = {garbage}
masked_load = InterpreterBuilder.create_masked_load


def load_and_spoil(builder, pointers, mask, other, *rest, **options):
    """A load as the interpreter does it, but with garbage where that leaves 0."""
    loaded = masked_load(builder, pointers, mask, other, *rest, **options)
    if other is None:
        garbage = numpy.array(FLOATS if loaded.data.dtype.kind == "f" else INTEGERS)
        garbage = numpy.resize(garbage, loaded.data.shape).astype(loaded.data.dtype)
        loaded.data = numpy.where(numpy.asarray(mask.data).astype(bool), loaded.data, garbage)
    return loaded


InterpreterBuilder.create_masked_load = load_and_spoil
numpy.seterr(all="ignore")
warnings.filterwarnings("ignore", "All-NaN")
'''

_BODY = '''

def load_module(name, path):
    """Imports a file by its path."""
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def call(learner, inputs):
    """Runs the function once: under the debugger in a terminal, plainly elsewhere."""
    if DRIVER_FILE is None:
        function, arguments = getattr(learner, FUNCTION), inputs
    else:
        function, arguments = load_module("driver", DRIVER_FILE).drive, (learner, *inputs)
    if not sys.stdin.isatty():
        return function(*arguments)
    print("In the debugger: n next line, s step into, p NAME print, c run on, q leave.")
    return pdb.runcall(function, *arguments)


def show_error(number, got, expected):
    """Prints the largest error of one output, and where it is."""
    name = f"output {number}"
    if not isinstance(got, torch.Tensor):
        print(f"{name}: expected a tensor, got {type(got).__name__}")
        return
    if got.dtype != expected.dtype:
        print(f"{name}: expected {expected.dtype}, got {got.dtype}")
    if got.shape != expected.shape:
        print(f"{name}: expected shape {list(expected.shape)}, got {list(got.shape)}")
        return
    got, expected = got.detach().cpu().double(), expected.cpu().double()
    error = (got - expected).abs()
    error[error.isnan()] = torch.inf
    error[(got == expected) | (got.isnan() & expected.isnan())] = 0.0
    if not error.numel() or not error.max():
        print(f"{name}: no error in {error.numel()} elements")
        return
    worst = tuple(torch.nonzero(error == error.max())[0].tolist())
    print(
        f"{name}: largest error {error[worst].item():.4g} at {list(worst)}: "
        f"expected {expected[worst].item():.8g}, got {got[worst].item():.8g}; "
        f"{int((error > 0).sum())} of {error.numel()} elements differ"
    )


def main():
    saved = torch.load(INPUTS_FILE, map_location=DEVICE, weights_only=True)
    print(f"{EXERCISE}, case {CASE} on {DEVICE}\\n{VERDICT}")
    outputs = call(load_module("learner", LEARNER_FILE), saved["inputs"])
    outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    if len(outputs) != len(saved["expected"]):
        print(f"expected {len(saved['expected'])} outputs, got {len(outputs)}")
    for number, (got, expected) in enumerate(zip(outputs, saved["expected"])):
        show_error(number, got, expected)


if __name__ == "__main__":
    main()
'''
