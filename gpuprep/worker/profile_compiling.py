"""A worker that compiles what a learner's call launches, for a named target and without a card. It runs no kernel."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import Any

import torch

from gpuprep.worker.profile_assembler import AssemblerError, built
from gpuprep.worker.profile_launches import noted
from gpuprep.worker.running import Answer, Runner


class Compiler(Runner):
    """Serves requests to import a file, and to compile what its function launches."""

    def __init__(self) -> None:
        super().__init__("cpu", is_counting=False)
        # Triton tells whoever compiles of its next version's defaults.
        warnings.filterwarnings("ignore", module="triton")

    def serve(self, request: dict[str, Any]) -> Answer:
        """Do what the trusted side asks for."""
        if request["do"] == "profile_compile":
            return self._compile(request["capability"], request["args"])
        if request["do"] == "profile_build":
            return _built(request)
        return super().serve(request)

    def _compile(self, capability: int, args: list[Any]) -> Answer:
        """Call the function with tensors that have sizes and no memory, and say what it launched."""
        from triton.runtime.driver import driver

        driver.set_active(_Target(capability))
        with noted(is_dry=True) as launches:
            try:
                self.run(*[_made(arg) for arg in args])
            except BaseException as error:  # noqa: BLE001  as in Runner.call
                return self.raised(error, "call")
        return {"status": "compiled", "kernels": launches.notes}


class _Target:
    """What Triton asks of a driver before it compiles.

    Args:
        capability: 90 for sm_90.
    """

    def __init__(self, capability: int) -> None:
        self._capability = capability

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:  # noqa: ARG002  as Triton calls it
        return 0

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self._capability, 32)

    def get_active_torch_device(self) -> torch.device:
        return torch.device("meta")

    def get_benchmarker(self) -> Any:
        return lambda _call, **_options: [1.0, 1.0, 1.0]


def _built(request: dict[str, Any]) -> Answer:
    try:
        kernels = built(request["code"], request["options"], request["name_expressions"], request["architecture"])
    except AssemblerError as error:
        return {"status": "unbuilt", "why": str(error)}
    return {"status": "built", "kernels": {name: asdict(resources) for name, resources in kernels.items()}}


def _made(value: Any) -> Any:
    """An argument, from what stands for it: a tensor's shape, a list of such, or a plain value."""
    if isinstance(value, dict) and "blank" in value:
        shape, strides, dtype = value["blank"], value["strides"], getattr(torch, value["dtype"])
        return torch.empty_strided(shape, strides, dtype=dtype, device="meta")
    if isinstance(value, dict):
        return {name: _made(item) for name, item in value.items()}
    return [_made(item) for item in value] if isinstance(value, list) else value
