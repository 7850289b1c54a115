"""Small CUDA kernels as data: statements whose indices, branches and values depend on no load, and their CUDA text.

The same description is what the oracle judges (cuda_race_oracle.py), so text and verdict can't differ in meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

WARP = 32
TICKET = "tickets"
"""The global array that `TakeTicket` counts in; element 0."""
IS_LAST = "is_last"
"""The shared scalar by which a block's first thread tells the others that theirs was the last ticket."""

C_TYPES = {1: "unsigned char", 2: "unsigned short", 4: "unsigned", 8: "unsigned long long"}


@dataclass(frozen=True)
class Array:
    """Memory that a kernel touches."""

    name: str
    n_elements: int
    is_shared: bool
    element_bytes: int = 4
    is_dynamic: bool = False


@dataclass(eq=False)
class Access:
    """`load`, `store` or `atomic` of `array[index]`; index and value are expressions that C and Python both read."""

    kind: str
    array: Array
    index: str
    value: str = "1"
    n_elements: int = 1
    """2: one access of a uint2, at an even index."""
    is_block_scope: bool = False
    is_volatile: bool = False
    line: int = 0


@dataclass(eq=False)
class Update:
    """`array[index] += array[source]`: two loads and a store of a value that nobody else stores."""

    array: Array
    index: str
    source: str
    line: int = 0


@dataclass(eq=False)
class Sync:
    """`block`, `warp` (with a mask), `fence` (block or device), `shuffle`."""

    kind: str
    mask: int = 0xFFFFFFFF
    is_block_scope: bool = False
    line: int = 0


@dataclass(eq=False)
class TakeTicket:
    """An atomic on the ticket counter and a store to the shared scalar; for one thread of each block."""

    line: int = 0


@dataclass(eq=False)
class If:
    """A branch; the condition is an expression."""

    condition: str
    then: list[Statement]
    otherwise: list[Statement] = field(default_factory=list)


@dataclass(eq=False)
class IfLast:
    """What only the block with the last ticket does."""

    then: list[Statement]
    line: int = 0


@dataclass(eq=False)
class For:
    """A loop whose count is an expression."""

    variable: str
    count: str
    body: list[Statement]


@dataclass(eq=False)
class Return:
    """Threads for which the condition holds leave."""

    condition: str


Statement = Access | Update | Sync | TakeTicket | If | IfLast | For | Return


@dataclass(eq=False)
class Kernel:
    """A whole kernel with its launch."""

    name: str
    n_blocks: int
    block: tuple[int, int]
    arrays: list[Array]
    body: list[Statement]

    @property
    def n_threads(self) -> int:
        """Threads of a block."""
        return self.block[0] * self.block[1]


def statements(body: Iterable[Statement]) -> Iterator[Statement]:
    """All statements, those inside others too."""
    for each in body:
        yield each
        for inner in ("then", "otherwise", "body"):
            yield from statements(getattr(each, inner, ()))


def write_source(kernels: Iterable[Kernel]) -> str:
    """One .cu for all of them; every statement learns its line."""
    lines: list[str] = []
    for kernel in kernels:
        _write_kernel(kernel, lines)
    return "\n".join(lines) + "\n"


def _write_kernel(kernel: Kernel, lines: list[str]) -> None:
    parameters = [f"{C_TYPES[array.element_bytes]}* {array.name}" for array in kernel.arrays if not array.is_shared]
    lines.append(f'extern "C" __global__ void {kernel.name}({", ".join([*parameters, "unsigned* out"])}) {{')
    for array in kernel.arrays:
        if array.is_shared:
            size = "" if array.is_dynamic else str(array.n_elements)
            prefix = "extern __shared__" if array.is_dynamic else "__shared__"
            lines.append(f"  {prefix} __align__(16) {C_TYPES[array.element_bytes]} {array.name}[{size}];")
    lines.append("  const int T = blockDim.x * blockDim.y, G = gridDim.x, b = blockIdx.x;")
    lines.append("  const int t = threadIdx.y * blockDim.x + threadIdx.x, lane = t % 32, warp = t / 32;")
    lines.append("  unsigned sum = t;")
    _write_body(kernel.body, lines, "  ")
    lines.append("  out[b * T + t] = sum;")
    lines.append("}")


def _write_body(body: list[Statement], lines: list[str], indent: str) -> None:
    for each in body:
        match each:
            case Access() | Update() | Sync():
                lines.append(indent + _text(each))
                each.line = len(lines)
            case TakeTicket():
                lines.append(f"{indent}{IS_LAST}[0] = atomicAdd(&{TICKET}[0], 1u) == G - 1u;")
                each.line = len(lines)
            case If():
                lines.append(f"{indent}if ({each.condition}) {{")
                _write_body(each.then, lines, indent + "  ")
                if each.otherwise:
                    lines.append(f"{indent}}} else {{")
                    _write_body(each.otherwise, lines, indent + "  ")
                lines.append(f"{indent}}}")
            case IfLast():
                lines.append(f"{indent}if ({IS_LAST}[0]) {{")
                each.line = len(lines)
                _write_body(each.then, lines, indent + "  ")
                lines.append(f"{indent}}}")
            case For():
                i = each.variable
                lines.append(f"{indent}for (int {i} = 0; {i} < {each.count}; ++{i}) {{")
                _write_body(each.body, lines, indent + "  ")
                lines.append(f"{indent}}}")
            case Return():
                lines.append(f"{indent}if ({each.condition}) return;")


def _text(each: Access | Update | Sync) -> str:
    if isinstance(each, Update):
        return f"{each.array.name}[{each.index}] += {each.array.name}[{each.source}] * 3u + 1u;"
    if isinstance(each, Sync):
        if each.kind == "block":
            return "__syncthreads();"
        if each.kind == "warp":
            return "__syncwarp();" if each.mask == 0xFFFFFFFF else f"__syncwarp({each.mask:#010x}u);"
        if each.kind == "fence":
            return "__threadfence_block();" if each.is_block_scope else "__threadfence();"
        return "sum += __shfl_xor_sync(0xffffffffu, sum, 1);"
    place = f"{each.array.name}[{each.index}]"
    if each.kind == "atomic":
        scope = "_block" if each.is_block_scope else ""
        type_name = C_TYPES[each.array.element_bytes]
        return f"atomicAdd{scope}(&{place}, ({type_name})({each.value}));"
    if each.is_volatile:
        place = f"const_cast<volatile {C_TYPES[each.array.element_bytes]}*>({each.array.name})[{each.index}]"
    if each.n_elements == 2:
        place = f"reinterpret_cast<uint2*>({each.array.name})[({each.index}) / 2]"
        if each.kind == "store":
            return f"{place} = make_uint2({each.value}, {each.value});"
        return f"{{ const uint2 pair = {place}; sum = sum * 3u + pair.x + pair.y; }}"
    return f"{place} = {each.value};" if each.kind == "store" else f"sum = sum * 3u + (unsigned){place};"
