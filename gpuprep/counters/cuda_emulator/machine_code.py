"""What the runtime must know of a kernel's machine code: its loops, its functions, and the source line of each call."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from gpuprep.counters.cuda_emulator.toolchain import ToolchainError, run

_BLOCK_HOOK = "__sanitizer_cov_trace_pc"
_FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")
_INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\t(\S+)(?:\s+([0-9a-f]+) <([^>+]+)(?:\+0x[0-9a-f]+)?>)?")


@dataclass(frozen=True)
class MachineCode:
    """Addresses are the program's own; it is not position-independent."""

    loops: tuple[tuple[int, int], ...]
    """(return address of the first block's hook, the jump back), ascending. One loop may have several ways back."""
    functions: tuple[tuple[int, int], ...]
    """(return address of the first hook, one past the last instruction), ascending."""
    sites: tuple[int, ...]
    """Return addresses of the calls into the runtime."""


@dataclass(frozen=True)
class _Instruction:
    address: int
    name: str
    target: int
    symbol: str


def read_code(program: Path, low: int, high: int, hooks: Iterable[str]) -> MachineCode:
    """Disassembles the kernel's part of a program, [low, high)."""
    done = run(
        ["objdump", "-d", "--no-show-raw-insn", f"--start-address={low:#x}", f"--stop-address={high:#x}", program]
    )
    if done.returncode != 0:
        raise ToolchainError(f"objdump failed: {done.stderr}")
    wanted = frozenset(hooks)
    loops: set[tuple[int, int]] = set()
    functions, sites = [], []
    for instructions in _functions(done.stdout):
        after = {here.address: behind.address for here, behind in pairwise(instructions)}
        calls = [i for i in instructions if i.name == "call"]
        sites += [after[call.address] for call in calls if call.symbol in wanted and call.address in after]
        blocks = [after[call.address] for call in calls if call.symbol == _BLOCK_HOOK and call.address in after]
        if not blocks:
            continue
        functions.append((blocks[0], instructions[-1].address + 1))
        for jump in instructions:
            if jump.name.startswith("j") and instructions[0].address <= jump.target <= jump.address:
                header = next((block for block in blocks if block > jump.target), 0)
                if 0 < header <= jump.address:
                    loops.add((header, jump.address))
    return MachineCode(tuple(sorted(loops)), tuple(sorted(functions)), tuple(sorted(set(sites))))


def _functions(listing: str) -> list[list[_Instruction]]:
    found: list[list[_Instruction]] = []
    for line in listing.splitlines():
        if _FUNCTION.match(line):
            found.append([])
            continue
        match = _INSTRUCTION.match(line)
        if match and found:
            address, name, target, symbol = match.groups()
            found[-1].append(_Instruction(int(address, 16), name, int(target, 16) if target else 0, symbol or ""))
    return [instructions for instructions in found if instructions]


def lines_of(program: Path, sites: Sequence[int], source: str) -> Mapping[int, int]:
    """The line of the learner's source for each return address; what was inlined into it counts where it was inlined.

    Args:
        program: with debug information.
        sites: return addresses, one past the call that is asked about.
        source: how the source file ends in the debug information.
    """
    if not sites:
        return {}
    done = run(["addr2line", "-a", "-i", "-e", program, *(f"{site - 1:#x}" for site in sites)])
    if done.returncode != 0:
        raise ToolchainError(f"addr2line failed: {done.stderr}")
    lines: dict[int, int] = {}
    site = 0
    for text in done.stdout.splitlines():
        if text.startswith("0x"):
            site = int(text, 16) + 1
            continue
        path, _, number = text.split(" (discriminator")[0].rpartition(":")
        if path.endswith(source) and number.isdigit():
            lines.setdefault(site, int(number))
    return lines


def merged(loops: Sequence[tuple[int, int]], lines: Mapping[int, int]) -> tuple[tuple[int, int], ...]:
    """Loops proper, out of all jumps back.

    Jumps back to one header are one loop's where they stand on one line, as the two tests of `while (a || b)` do.
    Else an outer loop begins with an inner one.

    Args:
        loops: (header, jump back), ascending.
        lines: the line of each jump back, by the address one past it.
    """
    found: list[tuple[int, int]] = []
    for header, end in loops:
        if found and found[-1][0] == header and lines.get(found[-1][1] + 1) == lines.get(end + 1):
            found.pop()
        found.append((header, end))
    return tuple(found)
