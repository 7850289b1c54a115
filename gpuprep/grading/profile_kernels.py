"""Kernels of a profile, from what workers say of them. Nothing that they say is believed before it was looked at."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gpuprep.grading.profiled import Kernel
from gpuprep.occupancy import LIMITS, occupancy

MOST = 2**40
"""No size or count of an honest launch is larger."""
MAX_NAME = 200

Answer = Mapping[str, Any]


def kernels_of(notes: Sequence[Answer], capability: str) -> tuple[Kernel, ...]:
    """The kernels that a worker noted at their launch.

    Args:
        notes: as `worker.profile_launches` writes them.
        capability: of the SM that they are to run on.

    Raises:
        ValueError, TypeError, KeyError: no honest worker says so.
    """
    return tuple(
        _with_occupancy(
            Kernel(
                name=str(note["kernel"])[:MAX_NAME],
                grid=_grid(note["grid"]),
                threads=_count(note["threads"], least=1),
                shared_bytes=_count(note["shared_bytes"]),
                registers=_maybe(note["registers"]),
                spill_bytes=_maybe(note["spill_bytes"]),
                stack_bytes=_maybe(note["stack_bytes"]),
                stages=_maybe(note["stages"]),
                constants={str(name): str(value) for name, value in note["constants"].items()},
                launches=_count(note["launches"], least=1),
                configurations=_count(note["configurations"]),
                why_not=str(note["why_not"]),
            ),
            capability,
        )
        for note in notes
    )


def built_kernels(recipe: Answer, capability: str, ask: Callable[[dict[str, Any]], Answer]) -> tuple[Kernel, ...]:
    """The CUDA kernels that a call launched, each distinct launch once, built for an SM.

    Args:
        recipe: of the call, as the learner's worker wrote it down.
        capability: of the SM.
        ask: asks the compiling worker.

    Raises:
        ValueError, TypeError, KeyError: no honest worker says so.
    """
    launches: dict[tuple[Any, ...], int] = {}
    for step in recipe["steps"]:
        if "run" in step:
            sizes = (_grid(step["grid"]), _grid(step["block"]), _count(step["shared_bytes"]))
            key = (_count(step["run"]), str(step["kernel"]), *sizes)
            launches[key] = launches.get(key, 0) + 1
    said = {place: _built(recipe["modules"][place], capability, ask) for place in {key[0] for key in launches}}
    found = []
    for (place, name, grid, block, dynamic_bytes), n_launches in launches.items():
        resources = said[place]["kernels"].get(name)
        why = said[place]["why"] or ("" if resources else f"the compiler named no kernel {name}")
        kernel = Kernel(
            name[:MAX_NAME],
            grid,
            math.prod(block),
            dynamic_bytes + (_count(resources["shared_bytes"]) if resources else 0),
            registers=_maybe(resources["registers"]) if resources else None,
            spill_bytes=_maybe(resources["spill_bytes"]) if resources else None,
            stack_bytes=_maybe(resources["stack_bytes"]) if resources else None,
            launches=n_launches,
            why_not=why,
        )
        found.append(_with_occupancy(kernel, capability))
    return tuple(found)


def _built(module: Answer, capability: str, ask: Callable[[dict[str, Any]], Answer]) -> dict[str, Any]:
    source = {name: module[name] for name in ("code", "options", "name_expressions")}
    answer = ask({"do": "profile_build", "architecture": f"sm_{capability.replace('.', '')}", **source})
    if answer["status"] != "built":
        return {"kernels": {}, "why": str(answer["why"])}
    return {"kernels": answer["kernels"], "why": ""}


def _with_occupancy(kernel: Kernel, capability: str) -> Kernel:
    if kernel.registers is None:
        return kernel
    found = occupancy(kernel.registers, kernel.shared_bytes, kernel.threads, LIMITS[capability])
    return replace(kernel, occupancy=found)


def _grid(value: Any) -> tuple[int, int, int]:
    x, y, z = (_count(size) for size in value)
    return x, y, z


def _maybe(value: Any) -> int | None:
    return None if value is None else _count(value)


def _count(value: Any, *, least: int = 0) -> int:
    if type(value) is not int or not least <= value <= MOST:
        raise ValueError(f"{value!r} where a count belongs")
    return value
