"""What the emulator has no answer to: refused before it is compiled, by name and line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from gpuprep.counters.cuda_emulator.source_scan import Token, closing

_GPU_ONLY = "the CUDA emulator has no {what}: it runs on a GPU only"
_NOT_A_KERNELS = "{what} is not for kernels here: the emulator counts what a kernel does by it"

_PTX = "inline PTX"
_TEXTURES = "texture or surface access"
_GRID_SYNC = "grid-wide synchronisation"
_CLUSTERS = "thread block clusters"
_TMA = "tensor memory access (TMA)"
_WGMMA = "warpgroup matrix multiply (wgmma)"
_DYNAMIC = "launch of a kernel with <<<>>>"

_NAMES = {
    **dict.fromkeys(("asm", "__asm", "__asm__"), _PTX),
    **dict.fromkeys(("multi_grid_group", "this_multi_grid"), _GRID_SYNC),
    **dict.fromkeys(("this_cluster", "cluster_group", "__cluster_dims__", "__cluster_size__"), _CLUSTERS),
    **dict.fromkeys(("CUtensorMap", "CUtensorMap_st", "cp_async_bulk", "cp_async_bulk_tensor"), _TMA),
    "wgmma": _WGMMA,
    "tcgen05": "tensor memory of Blackwell (tcgen05)",
    "__managed__": "managed memory",
    "cub": "CUB",
    "thrust": "Thrust",
    "cutlass": "CUTLASS",
    "cute": "CuTe",
}
_PATTERNS = (
    (re.compile(r"(tex|surf)(1D|2D|3D|Cubemap)\w*|cuda(Texture|Surface)Object_t|texture|surface"), _TEXTURES),
    (re.compile(r"cuda[A-Z]\w*|cu[A-Z][a-z]+[A-Z]\w*"), "CUDA host API (`{name}`); kernels are launched from Python"),
)
_HEADERS = (
    (re.compile(r"cub/|thrust/|cutlass/|cute/|cuda/|nv/"), "library `{name}`"),
    (re.compile(r"cu(blas|rand|fft|sparse|solver|dnn)\w*"), "library `{name}`"),
)
_RESERVED = re.compile(r"_*(gp|GP|tsan|asan|ubsan|sanitizer)_\w+")
_ATTRIBUTES = frozenset(
    "aligned __aligned__ packed __packed__ always_inline __always_inline__ noinline __noinline__ unused __unused__ "
    "const pure maybe_unused nodiscard fallthrough likely unlikely noreturn deprecated".split()
)
_PRAGMA = re.compile(
    r"#\s*pragma\s+(?:GCC|clang|STDC|omp|weak|pack|redefine_extname|push_macro|pop_macro)\b(?P<rest>.*)"
)

POISON = (
    "asm __asm __asm__ no_sanitize __no_sanitize__ no_sanitize_thread no_sanitize_coverage no_instrument_function "
    "optimize __optimize__ ifunc naked constructor destructor"
)
"""Words that the compiler itself refuses after the device language's headers, however they are put together."""


def refusal(tokens: Sequence[Token]) -> tuple[int, str] | None:
    """The first line that the emulator refuses, and why; None where there is none."""
    declared, grids = _declared(tokens), _grids(tokens)
    for at, token in enumerate(tokens):
        reason = ""
        if token.kind == "directive":
            reason = _directive(token.text)
        elif token.kind == "name":
            reason = _GPU_ONLY.format(what=_GRID_SYNC) if _syncs(tokens, at, grids) else _name(tokens, at, declared)
        elif token.text == "<<<":
            reason = _GPU_ONLY.format(what=_DYNAMIC)
        elif token.text == "[" and _text(tokens, at + 1) == "[":
            reason = _attributes(tokens[at + 2 : closing(tokens, at)])
        if reason:
            return token.line, reason
    return None


def _declared(tokens: Sequence[Token]) -> frozenset[str]:
    """Names that stand behind a type: a learner's own `int texture` is no texture."""
    types = {"int", "float", "double", "char", "bool", "unsigned", "long", "short", "auto", "half", "void", "size_t"}
    return frozenset(
        token.text
        for before, token in pairwise(tokens)
        if token.kind == "name" and (before.text in types or before.text in ("*", "&", "namespace"))
    )


def _grids(tokens: Sequence[Token]) -> frozenset[str]:
    """Names of variables that hold a whole grid; its ranks and sizes are there in any launch."""
    found = set()
    for at, token in enumerate(tokens):
        if token.text == "grid_group":
            found.add(next((each.text for each in tokens[at + 1 : at + 3] if each.kind == "name"), ""))
        elif token.text == "this_grid":
            before = at - (2 if _text(tokens, at - 1) == "::" else 0)
            found.add(_text(tokens, before - 2) if _text(tokens, before - 1) in ("=", "(", "{") else "")
    return frozenset(found - {""})


def _syncs(tokens: Sequence[Token], at: int, grids: Iterable[str]) -> bool:
    """True where all blocks wait for one another: `grid.sync()`, `this_grid().sync()`, `cg::sync(grid)`."""
    if tokens[at].text not in ("sync", "barrier_arrive", "barrier_wait"):
        return False
    if _text(tokens, at - 1) == ".":
        is_call = [token.text for token in tokens[max(0, at - 4) : at - 1]] == ["this_grid", "(", ")"]
        return is_call or _text(tokens, at - 2) in grids
    inside = [token.text for token in tokens[at + 2 : closing(tokens, at + 1)]] if _text(tokens, at + 1) == "(" else []
    return any(text == "this_grid" or text in grids for text in inside)


def _text(tokens: Sequence[Token], at: int) -> str:
    return tokens[at].text if 0 <= at < len(tokens) else ""


def _name(tokens: Sequence[Token], at: int, declared: Iterable[str]) -> str:
    name = tokens[at].text
    if name in ("__attribute__", "__attribute"):
        return _attributes(tokens[at + 2 : closing(tokens, at + 1)])
    if name == "_Pragma":
        return _directive(f"#pragma {_text(tokens, at + 2).strip(chr(34))}")
    if name == "thread_local":
        return _NOT_A_KERNELS.format(what="`thread_local`")
    if _RESERVED.fullmatch(name):
        return _NOT_A_KERNELS.format(what=f"`{name}`, a name of the emulator's own,")
    is_member = _text(tokens, at - 1) in (".", "->")
    if name in declared or is_member:
        return ""
    if name in ("cub", "thrust", "cutlass", "cute", "wgmma") and _text(tokens, at + 1) != "::":
        return ""
    what = _NAMES.get(name, "") or next((what for pattern, what in _PATTERNS if pattern.fullmatch(name)), "")
    if what == _TEXTURES and name in ("texture", "surface") and _text(tokens, at + 1) != "<":
        return ""
    return _GPU_ONLY.format(what=what.format(name=name)) if what else ""


def _directive(text: str) -> str:
    words = text.lstrip("# \t").split(None, 1)
    keyword, rest = (words[0] if words else ""), (words[1].strip() if len(words) > 1 else "")
    if keyword in ("include", "include_next", "import"):
        name = rest.strip('<>" ')
        for pattern, what in _HEADERS:
            if pattern.match(name):
                return _GPU_ONLY.format(what=what.format(name=name))
        if name.startswith(("/", ".", "~")) or keyword != "include":
            return f"`#include {rest}`: a kernel's file stands alone, and includes CUDA's own headers only"
    pragma = _PRAGMA.match(text)
    if pragma and not pragma["rest"].split("(")[0].strip().startswith(("unroll", "ivdep", "diagnostic")):
        return _NOT_A_KERNELS.format(what=f"`{' '.join(text.split())}`")
    if keyword in ("define", "undef") and _RESERVED.match(rest.split("(")[0].split(" ")[0]):
        return _NOT_A_KERNELS.format(what=f"`{rest.split('(')[0].split(' ')[0]}`, a name of the emulator's own,")
    if keyword == "define" and re.search(r"\b(__asm__|__asm|asm)\b", rest):
        return _GPU_ONLY.format(what=_PTX)
    return ""


def _attributes(inside: Sequence[Token]) -> str:
    for token in inside:
        if token.kind == "name" and token.text not in _ATTRIBUTES and token.text not in ("gnu", "sizeof", "alignof"):
            previous = _text(inside, inside.index(token) - 1)
            if previous in ("", "(", ",", ":", "::", "["):
                return _NOT_A_KERNELS.format(what=f"the attribute `{token.text}`")
    return ""
