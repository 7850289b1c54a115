"""Loads a learner's file and calls its function once, watched."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import inspect
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gpuprep.channel import storage_id
from gpuprep.counters.findings import KernelFault
from gpuprep.counters.masked_lanes import USUAL, Garbage
from gpuprep.counters.recording import Recording
from gpuprep.counters.torch_ops import HostOps
from gpuprep.counters.triton_interpreter import Counter
from gpuprep.cuda.errors import BackEndMissingError, CudaCompileError
from gpuprep.errors import UnsupportedTritonError

if TYPE_CHECKING:
    from gpuprep.worker.group import Member
    from gpuprep.worker.launching import Trail
    from gpuprep.worker.stopwatch import Stopwatch

Answer = dict[str, Any]

_COMPILE_ERRORS = ("CompilationError", "CompileTimeAssertionFailure", "UnsupportedLanguageConstruct")
MAX_SITES = 2000
"""Lines of kernels that access memory; no honest file has as many."""
_SHARE_OF_LIMIT = 1 / 3
"""Of the time that a call has left, for an emulated kernel. It is processor time: on a busy machine, and with time to
say where the kernel was, it has to end well before the check does."""
_DEVICE_ONLY = ("/torch/cuda/", "/cupy/", "/triton/runtime/driver", "/triton/backends/", "/numba/cuda/")
"""Library folders whose errors mean that the code asked for a device, where the interpreter has none."""


class Runner:
    """Holds the learner's module between requests.

    Args:
        device: `cpu` or `cuda`: where the arguments of a call are put.
        is_counting: on a CPU, run Triton's kernels in the interpreter, counted.
    """

    def __init__(self, device: str, *, is_counting: bool = True) -> None:
        self.device = device
        self.path = ""
        self.why_not = ""
        self.function: Callable[..., Any] | None = None
        self._driver: ModuleType | None = None
        self._counter: Counter | None = None
        # Uninitialised memory is poisoned, so that what a kernel never wrote shows as NaN and not as an old result.
        # (Not by `use_deterministic_algorithms`, which imports all of inductor: more than a second.)
        torch.set_deterministic_debug_mode("warn")
        torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
        # What torch says of that mode, and of its own thread for backward, would read like the learner's output.
        warnings.filterwarnings("ignore", message=r".*(determinis|no current CUDA context)")
        if device == "cpu" and is_counting:
            # The interpreter computes in NumPy, whose warnings about overflow would read like the learner's output.
            np.seterr(all="ignore")
            warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
            try:
                self._counter = Counter()
            except UnsupportedTritonError as error:
                self.why_not = error.message
        else:
            # No context yet at import; the first allocation makes it, and its cost is not the learner's.
            torch.zeros(1, device=device)

    @property
    def can_count(self) -> bool:
        """True where calls are run in the interpreter and counted."""
        return self._counter is not None

    def serve(self, request: dict[str, Any]) -> Answer:
        """Do what the trusted side asks for."""
        if request["do"] == "load":
            return self.load(request["path"], request["function"], request["driver"])
        if request["do"] == "call":
            return self.call(
                request["args"],
                reverse=request["reverse"],
                traced=request.get("traced", False),
                limit_s=request.get("limit_s"),
                garbage=Garbage(**request.get("garbage", {})),
            )
        if request["do"] in ("join", "make", "time_together", "take"):
            return self.member.serve(request)
        if request["do"] == "follow":
            return self.follow(request["recipe"], request["cache"])
        if request["do"].startswith("profile_"):
            from gpuprep.worker import profile_running

            return profile_running.serve(self, request)
        return self.stopwatch.serve(request)

    def load(self, path: str, function: str, driver: str | None) -> Answer:
        """Import the learner's file, and the driver where the exercise has one; without a path, the driver alone."""
        self.path = path
        try:
            if not path and driver:
                self._driver = _import(driver, "driver")
                return {"status": "loaded", "parameters": None}
            module = _import(path, "solution")
            self._driver = _import(driver, "driver") if driver else None
        except BaseException as error:  # noqa: BLE001  whatever a learner's file throws is an answer
            return self.raised(error, "import")
        found = getattr(module, function, None)
        if not callable(found):
            return {"status": "missing", "defined": sorted(_functions(module))}
        self.function = found
        self._module = module
        return {"status": "loaded", "parameters": _parameters(found)}

    def call(
        self,
        args: Sequence[Any],
        *,
        reverse: bool = False,
        traced: bool = False,
        limit_s: float | None = None,
        garbage: Garbage = USUAL,
    ) -> Answer:
        """Call the function with these arguments and report all that was seen.

        The answer holds the arguments as they are afterwards, the outputs, counted work, findings and host operations;
        with `traced`, a recipe as well that the counting worker can follow.
        """
        args = move(args, self.device)
        ends_by = None if limit_s is None else time.monotonic() + _SHARE_OF_LIMIT * limit_s
        with _followed(args, traced) as trail, self._recording(args, reverse, ends_by, garbage) as recording:
            try:
                returned = self.run(*args)
                if self.device == "cuda":
                    torch.cuda.synchronize()
            except KernelFault:
                # Already among the findings, with its line.
                return {"status": "stopped", **_seen(recording, ())}
            except BaseException as error:  # noqa: BLE001  SystemExit and KeyboardInterrupt are answers too
                return {**self.raised(error, "call"), **_seen(recording, ())}
        outputs = returned if isinstance(returned, tuple | list) else (returned,)
        seen = _seen(recording, outputs)
        if not outputs or not all(_is_plain_tensor(item) for item in outputs):
            return {"status": "odd", "returned": _describe(returned), **seen}
        return {
            "status": "returned",
            "args": list(args),
            "outputs": list(outputs),
            "devices": [output.device.type for output in outputs],
            **seen,
            **({"recipe": trail.recipe(outputs)} if trail else {}),
        }

    def retold(self, args: Sequence[Any]) -> Answer:
        """Call the function on a card and report what it launched, as a recipe that `worker.card_replay` can follow."""
        from gpuprep.worker.card_launching import following_on_card

        with following_on_card(args) as trail, self._recording(args) as recording:
            returned = self.run(*args)
            torch.cuda.synchronize()
        outputs = returned if isinstance(returned, tuple | list) else (returned,)
        host_ops = [asdict(op) for op in recording.host_ops]
        return {"status": "told", "recipe": trail.recipe(outputs), "host_ops": host_ops}

    def follow(self, recipe: Mapping[str, Any], cache: str) -> Answer:
        """Become what a recipe says: from now on a call does what it did, on a card.

        Args:
            recipe: what `retold` wrote down elsewhere.
            cache: the folder for what is compiled; where others can write, it could be something else.
        """
        os.environ.update(TRITON_CACHE_DIR=f"{cache}/triton", CUPY_CACHE_DIR=f"{cache}/cupy")
        from gpuprep.worker.card_replay import followed

        self.function, answer = followed(recipe)
        return answer

    @functools.cached_property
    def stopwatch(self) -> Stopwatch:
        """Serves the speed tier's requests."""
        from gpuprep.worker.stopwatch import Stopwatch

        return Stopwatch(self)

    @functools.cached_property
    def member(self) -> Member:
        """Serves the requests to a rank of a group."""
        from gpuprep.worker.group import Member

        return Member(self)

    @property
    def driver(self) -> ModuleType:
        """The exercise's driver."""
        assert self._driver is not None  # noqa: S101  every exercise for several ranks has one
        return self._driver

    def run(self, *args: Any) -> Any:
        """One plain call, through the driver where there is one; where only that is loaded, of the baseline."""
        if self.function is None:
            return self.driver.baseline(*args)
        if self._driver is not None:
            return self._driver.drive(self._module, *args)
        return self.function(*args)

    @contextlib.contextmanager
    def _recording(
        self,
        args: Sequence[Any],
        reverse: bool = False,
        ends_by: float | None = None,
        garbage: Garbage = USUAL,
    ) -> Iterator[Recording]:
        tensors = [arg for arg in args if isinstance(arg, torch.Tensor)]
        if self._counter is not None:
            with self._counter.recording(
                reverse=reverse, inputs=tensors, path=self.path, ends_by=ends_by, garbage=garbage
            ) as recording:
                yield recording
            return
        host_ops = HostOps(self.path, tensors)
        with host_ops.recording():
            yield Recording(tensors, host=host_ops)

    def raised(self, error: BaseException, during: str) -> Answer:
        """What the learner's code raised, where, and what that says about it."""
        root = _root_cause(error)
        line = next(filter(None, map(self._line, _innermost_first(error))), 0)
        if isinstance(root, SyntaxError) and root.filename == self.path:
            line = root.lineno or 0
        path = self.path
        if isinstance(root, BackEndMissingError | CudaCompileError) and root.path and root.line:
            path, line = root.path, root.line
        kind = type(root).__name__
        return {
            "status": "raised",
            "during": during,
            "type": kind,
            "message": str(root)[:2000] or kind,
            "path": path,
            "line": line,
            "is_syntax": isinstance(root, SyntaxError | CudaCompileError) or kind in _COMPILE_ERRORS,
            # torch raises it too, of an operator that lacks a back end.
            "is_not_implemented": isinstance(root, NotImplementedError) and self._is_own(root.__traceback__),
            "needs_device": self.device == "cpu" and _needs_device(root),
            "lacks_back_end": isinstance(root, BackEndMissingError),
        }

    def _line(self, error: BaseException) -> int:
        frames = traceback.walk_tb(error.__traceback__)
        lines = [number for frame, number in frames if frame.f_code.co_filename == self.path]
        return lines[-1] if lines else 0

    def _is_own(self, trace: TracebackType | None) -> bool:
        files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(trace)]
        return bool(files) and files[-1] == self.path


@contextlib.contextmanager
def _followed(args: Sequence[Any], is_wanted: bool) -> Iterator[Trail | None]:
    if not is_wanted:
        yield None
        return
    # Triton's interpreter comes with it.
    from gpuprep.worker.launching import following

    with following(args) as trail:
        yield trail


def move(args: Sequence[Any], device: str) -> list[Any]:
    """The arguments on the device, each storage moved whole, so that views and guard bands stay what they were."""
    moved: dict[int, torch.Tensor] = {}

    def place(arg: Any) -> Any:
        if not isinstance(arg, torch.Tensor) or arg.device.type == device:
            return arg
        key = storage_id(arg)
        if key not in moved:
            moved[key] = torch.empty(0, dtype=torch.uint8).set_(arg.untyped_storage()).to(device)
        target = torch.empty(0, dtype=arg.dtype, device=device).set_(moved[key].untyped_storage())
        return target.as_strided(arg.shape, arg.stride(), arg.storage_offset())

    return [place(arg) for arg in args]


def _import(path: str, name: str) -> ModuleType:
    # The learner's folder comes first, so that a file can have a neighbour; nothing is written beside it.
    sys.dont_write_bytecode = True
    if str(Path(path).parent) not in sys.path:
        sys.path.insert(0, str(Path(path).parent))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # noqa: S101  the trusted side only sends .py files
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    # Registered, because dataclasses, pickling and inspect look their module up.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _functions(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")][:20]


def _parameters(function: Callable[..., Any]) -> list[dict[str, Any]] | None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    return [
        {"name": parameter.name, "kind": parameter.kind.name, "required": parameter.default is inspect.Parameter.empty}
        for parameter in signature.parameters.values()
    ]


def _is_plain_tensor(value: Any) -> bool:
    # Exactly torch.Tensor: a subclass could compute lazily, after the clock has stopped.
    return type(value) is torch.Tensor and value.layout == torch.strided and value.device.type in ("cpu", "cuda")


def _describe(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"{type(value).__name__} of {', '.join(type(item).__name__ for item in value[:8]) or 'nothing'}"
    if isinstance(value, torch.Tensor):
        return f"{type(value).__name__} ({value.layout}, on {value.device})"
    return type(value).__name__


def _seen(recording: Recording, outputs: Sequence[Any]) -> Answer:
    plain = [output for output in outputs if _is_plain_tensor(output)]
    return {
        "work": asdict(recording.work),
        "findings": [asdict(finding) for finding in recording.findings],
        "sites": [asdict(site) for site in recording.sites.values()][:MAX_SITES],
        "host_ops": [asdict(op) for op in recording.host_ops],
        "stored": [recording.stored_into(output) for output in plain],
        "singles": [asdict(single) for single in recording.host.collectives.singles],
    }


def _root_cause(error: BaseException) -> BaseException:
    # Triton wraps what a kernel raised, once a nesting level.
    while type(error).__name__ in ("InterpreterError", "CompilationError") and error.__cause__ is not None:
        error = error.__cause__
    return error


def _innermost_first(error: BaseException) -> list[BaseException]:
    """The exception that all began with, then what was raised because of it, up to the one that came out."""
    chain: list[BaseException] = []
    at: BaseException | None = error
    # By identity: what a learner raises may compare as it likes.
    while at is not None and all(at is not known for known in chain):
        chain.append(at)
        at = at.__cause__
    return chain[::-1]


def _needs_device(error: BaseException) -> bool:
    message = str(error)
    if isinstance(error, ModuleNotFoundError):
        return error.name in ("cupy", "numba")
    if "cudaErrorNoDevice" in message:
        return True
    if "active drivers" in message or "NVIDIA driver" in message or "not compiled with CUDA" in message:
        return True
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(files) and any(part in files[-1] for part in _DEVICE_ONLY)
