"""From a learner's `.cu` to a program that counts what it does."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpuprep.counters.cuda_emulator import refused, toolchain
from gpuprep.counters.cuda_emulator.elf import Elf, Symbol
from gpuprep.counters.cuda_emulator.launching import DeviceVariable, ProgramLayout
from gpuprep.counters.cuda_emulator.machine_code import lines_of, merged, read_code
from gpuprep.counters.cuda_emulator.program import Program
from gpuprep.counters.cuda_emulator.signatures import MAX_SHARED_BYTES, kernels_of
from gpuprep.counters.cuda_emulator.source_scan import (
    KernelDeclaration,
    Token,
    constants,
    indexed_arrays,
    kernels,
    tokens,
)

MAX_STATIC_SHARED_BYTES = 48 * 1024
"""What a GPU's compiler lets a block declare; more must be asked for at the launch."""

_KEPT_DAYS = 30
"""Programs that haven't been used for so long are removed from the cache."""

_SOURCE = "kernel.cu"
_PROGRAM = "kernel"
_LAYOUT = "layout.json"
_MESSAGE = re.compile(r"^(?P<path>[^:\s][^:]*):(?P<line>\d+)(?::\d+)?: (?:fatal )?error: (?P<text>.*)$", re.MULTILINE)
_OPTION = re.compile(r"-[DU][A-Za-z_]\w*(=[^\n]*)?|--define-macro=[^\n]*")
_RUNTIME_CALLS = re.compile(r"gp_\w+|__tsan_\w+|__sanitizer_cov_trace_pc|__ubsan_handle_out_of_bounds")
_MEMORY_CALLS = {"memcpy": b"gp_cpy", "memset": b"gp_set", "memmove": b"gp_move"}
"""What the compiler calls for large copies, and what it is made to call: a copy is accesses too."""
_MATH = (
    "acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp10 exp2 expm1 fabs fdim floor "
    "fma fmax fmin fmod frexp hypot ilogb j0 j1 jn ldexp lgamma llrint llround log log10 log1p log2 logb lrint lround "
    "modf nearbyint nextafter pow remainder remquo rint round scalbln scalbn sin sincos sinh sqrt tan tanh tgamma "
    "trunc y0 y1 yn"
).split()
_ALLOWED_CALLS = frozenset(
    [
        *_MATH,
        *(f"{name}f" for name in _MATH),
        *(f"__{name}_finite" for name in _MATH),
        *"__udivti3 __umodti3 __divti3 __modti3 __multi3 __mulsc3 __muldc3 __divsc3 __divdc3 __popcountdi2".split(),
        *"__extendhfsf2 __truncsfhf2 __truncdfhf2 __extendhfdf2 _GLOBAL_OFFSET_TABLE_".split(),
    ]
)
_SECTIONS = re.compile(r"(\.text|\.data|\.bss|\.rodata|\.tbss|\.tdata|\.comment|\.group|\.symtab|\.strtab|\.shstrtab"
                       r"|\.note|\.debug_\w+|\.eh_frame|\.init_array\.00099)(\..*)?|\.rela.*")  # fmt: skip


class CompileError(Exception):
    """The learner's code doesn't compile.

    Args:
        message: what is wrong, in one line.
        line: of the learner's source, from 1; 0 where unknown.
        log: all that the compiler said, with the learner's line numbers.
    """

    def __init__(self, message: str, *, line: int = 0, log: str = "") -> None:
        super().__init__(f"line {line}: {message}" if line else message)
        self.message = message
        self.line = line
        self.log = log or str(self)


class UnsupportedFeatureError(CompileError):
    """The code uses what only a GPU has."""


def build(source: str, *, options: Sequence[str] = (), name_expressions: Sequence[str] = (), path: str = "") -> Program:
    """Compiles a kernel's source, or takes it from the cache.

    Args:
        source: CUDA C++; every `__global__` function that is no template can be launched by its name.
        options: as for a GPU's compiler; `-D` and `-U` count here, the others change nothing that is counted.
        name_expressions: instances of templates to compile, such as `scale<float>`.
        path: of the source, for messages.

    Raises:
        CompileError: the code is wrong.
        UnsupportedFeatureError: the code is right, and only for a GPU.
        ToolchainError: the compiler is missing or broken.
    """
    if why := toolchain.why_unsupported():
        raise toolchain.ToolchainError(why)
    macros = _macros(options)
    parts = [toolchain.fingerprint(), source, *macros, "--", *name_expressions]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    folder = toolchain.cache_folder() / key[:32]
    if not (folder / _LAYOUT).exists():
        _build_into(folder, source, macros, tuple(name_expressions))
    layout = json.loads((folder / _LAYOUT).read_text(encoding="utf-8"))
    with contextlib.suppress(PermissionError):
        # Refused in a sandbox, whose cache goes with it.
        os.utime(folder)
    return Program(folder / _PROGRAM, ProgramLayout.from_json(layout), path)


def _macros(options: Sequence[str]) -> tuple[str, ...]:
    """The options that g++ must see too, each as one word."""
    joined: list[str] = []
    words = iter(options)
    for word in words:
        if word in ("-D", "-U", "--define-macro", "--undefine-macro"):
            word = {"-D": "-D", "-U": "-U"}.get(
                word, "-D" if "define-macro" in word and "un" not in word else "-U"
            ) + next(words, "")
        word = word.replace("--define-macro=", "-D", 1).replace("--undefine-macro=", "-U", 1)
        if _OPTION.fullmatch(word):
            joined.append(word)
    return tuple(joined)


def _build_into(folder: Path, source: str, macros: tuple[str, ...], name_expressions: tuple[str, ...]) -> None:
    scanned = tokens(source)
    if refusal := refused.refusal(scanned):
        line, reason = refusal
        raise UnsupportedFeatureError(reason, line=line)
    declared = kernels(scanned)
    _clear_away(folder.parent)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        work = Path(name)
        (work / _SOURCE).write_text(source, encoding="utf-8")
        made = work / "made"
        made.mkdir()
        (work / "unit.cpp").write_text(_unit(declared, name_expressions), encoding="utf-8")
        _compile(work, macros)
        layout = _link(work, made / _PROGRAM, declared)
        layout |= _named(layout, scanned)
        (made / _LAYOUT).write_text(json.dumps(layout), encoding="utf-8")
        try:
            made.rename(folder)
        except OSError:
            # Somebody else has made the same meanwhile, or its folder was damaged.
            if not (folder / _LAYOUT).exists():
                shutil.rmtree(folder, ignore_errors=True)
                made.rename(folder)


def _clear_away(cache: Path) -> None:
    """Removes programs that nobody has used for weeks."""
    oldest = time.time() - _KEPT_DAYS * 24 * 3600
    for entry in cache.iterdir():
        # Another process may clear away the same.
        with contextlib.suppress(OSError):
            if entry.stat().st_mtime < oldest:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _unit(declared: Sequence[KernelDeclaration], name_expressions: Sequence[str]) -> str:
    names = list(dict.fromkeys([k.name for k in declared if not k.is_template] + list(name_expressions)))
    rows = "".join(f"    gp_describing::gp_entry<&{name}>({json.dumps(name)}),\n" for name in names)
    return (
        f'#include "{toolchain.RUNTIME / "describe.h"}"\n'
        f"#pragma GCC poison {refused.POISON}\n"
        f'#include "{_SOURCE}"\n'
        f"const gp_kernel gp_kernels[] = {{\n{rows}    {{}}}};\n"
        f"const unsigned gp_n_kernels = {len(names)};\n"
    )


def _compile(work: Path, macros: Sequence[str]) -> None:
    command: list[str | Path] = ["g++", *toolchain.DEVICE_FLAGS, *macros]
    # A kernel finds the headers that a GPU's compiler has, and none of this machine's.
    command += ["-nostdinc", "-nostdinc++", "-I", toolchain.INCLUDE, "-I", toolchain.INCLUDE / "standard"]
    command += ["-include", toolchain.INCLUDE / toolchain.UMBRELLA]
    command += ["-c", work / "unit.cpp", "-o", work / "kernel.o"]
    done = toolchain.run(command)
    if done.returncode == 0:
        return
    log = done.stderr.replace(str(work / _SOURCE), _SOURCE).replace(f"{work}/", "")
    log = "\n".join(
        line for line in log.splitlines() if not line.startswith(("In file included", "                 from"))
    )
    found = [match for match in _MESSAGE.finditer(log) if match["path"] == _SOURCE]
    if found:
        raise CompileError(found[0]["text"], line=int(found[0]["line"]), log=log)
    # An error in a header or in the table of kernels is blamed on the learner's line that led there.
    behind = re.search(rf"^{re.escape(_SOURCE)}:(\d+)", log, re.MULTILINE)
    first = _MESSAGE.search(log)
    message = first["text"] if first else (log.strip().splitlines() or ["the compiler failed"])[0]
    raise CompileError(message, line=int(behind[1]) if behind else 0, log=log)


def _link(work: Path, program: Path, declared: Sequence[KernelDeclaration]) -> dict[str, Any]:
    """Checks the object, links it, and returns what a launch needs to know of the program."""
    compiled = (work / "kernel.o").read_bytes()
    kernel = Elf(compiled)
    _check_object(kernel)
    _redirect_memory_calls(work / "kernel.o", compiled, kernel)
    externs = sorted({s.name for s in kernel.undefined if s.is_thread_local} - set(_GEOMETRY))
    _make_dynamic_shared(work, externs)
    toolchain.link([work / "kernel.o", work / "shared.o"], program)
    linked = Elf(program.read_bytes())
    names = {_plain(name) for name in externs}
    dynamic = names.pop() if len(names) == 1 else "dynamic shared memory" if names else ""
    return {**_layout(program, kernel, linked, declared), "dynamic_shared": dynamic}


_GEOMETRY = ("gp_thread_index", "gp_block_index", "gp_block_size", "gp_grid_size")


def _check_object(kernel: Elf) -> None:
    for section in kernel.sections:
        if section and not _SECTIONS.fullmatch(section):
            raise UnsupportedFeatureError(f"code that runs outside kernels (section `{section}`) is for a GPU only")
    for symbol in kernel.undefined:
        is_known = (
            symbol.name in _ALLOWED_CALLS or symbol.name in _MEMORY_CALLS or _RUNTIME_CALLS.fullmatch(symbol.name)
        )
        if not is_known and not symbol.is_thread_local:
            raise UnsupportedFeatureError(f"calls `{symbol.name}`, which the CUDA emulator doesn't have")


def _redirect_memory_calls(path: Path, compiled: bytes, kernel: Elf) -> None:
    edited = bytearray(compiled)
    for symbol in kernel.undefined:
        if new := _MEMORY_CALLS.get(symbol.name):
            edited[symbol.name_offset : symbol.name_offset + len(new)] = new
            edited[symbol.name_offset + len(new)] = 0
    if edited != compiled:
        path.write_bytes(edited)


def _make_dynamic_shared(work: Path, names: Sequence[str]) -> None:
    """`extern __shared__` arrays are all one memory, which follows the arrays of a fixed size."""
    labels = "".join(f".globl {name}\n{name}:\n" for name in ("gp_dynamic_shared", *names))
    text = f'.section .tbss,"awT",@nobits\n.balign 128\n{labels}.zero {MAX_SHARED_BYTES}\n'
    (work / "shared.s").write_text(f'{text}.section .note.GNU-stack,"",@progbits\n', encoding="utf-8")
    done = toolchain.run(["as", work / "shared.s", "-o", work / "shared.o"])
    if done.returncode != 0:
        raise toolchain.ToolchainError(f"as failed: {done.stderr}")


def _layout(program: Path, kernel: Elf, linked: Elf, declared: Sequence[KernelDeclaration]) -> dict[str, Any]:
    own = {symbol.name for symbol in kernel.symbols if symbol.section and symbol.name}
    mine = [symbol for symbol in linked.symbols if symbol.name in own and symbol.section]
    dynamic = next(s.address for s in linked.symbols if s.name == "gp_dynamic_shared")
    shared = [s for s in mine if s.is_thread_local and s.address < dynamic]
    start = min((s.address for s in shared), default=dynamic)
    n_static = max(_shared_bytes_of_functions(shared).values(), default=0)
    if n_static > MAX_STATIC_SHARED_BYTES:
        raise CompileError(
            f"a kernel declares {n_static} bytes of __shared__ memory, and a block has {MAX_STATIC_SHARED_BYTES}: "
            "take more as extern __shared__, with its size given at the launch"
        )
    functions = [s for s in mine if s.is_function]
    low = min(s.address for s in functions) if functions else 0
    high = max(s.address + s.n_bytes for s in functions) if functions else 0
    code = read_code(program, low, high, {s.name for s in linked.symbols if _RUNTIME_CALLS.fullmatch(s.name)})
    lines = lines_of(program, [*code.sites, *(end + 1 for _, end in code.loops)], _SOURCE)
    variables = [s for s in mine if s.is_object and s.n_bytes and not s.name.startswith("gp_")]
    described = toolchain.run([program, "describe"])
    return {
        "kernels": [kernel.to_json() for kernel in kernels_of(described.stdout, declared)],
        "static_shared_bytes": dynamic - start,
        "shared": [[_plain(s.name), s.address - start, s.n_bytes] for s in shared],
        "shared_of_functions": _by_plain_name(_shared_bytes_of_functions(shared)),
        "variables": [
            DeviceVariable(_plain(s.name), s.address, s.n_bytes, is_constant=False).to_json()
            for s in sorted(variables, key=lambda s: s.address)
            if not s.section.startswith(".rodata")
        ],
        "loops": merged(code.loops, lines),
        "functions": code.functions,
        "lines": [[site, line] for site, line in lines.items()],
        "source": _SOURCE,
    }


def _shared_bytes_of_functions(arrays: Sequence[Symbol]) -> dict[str, int]:
    """Bytes of shared arrays by the function that declares them; those outside functions belong to all."""
    sums: dict[str, int] = {}
    for symbol in arrays:
        # `_ZZ<function>E<name>` is a variable inside a function.
        function = symbol.name[: symbol.name.rfind("E")] if symbol.name.startswith("_ZZ") else ""
        sums[function] = sums.get(function, 0) + symbol.n_bytes
    common = sums.get("", 0)
    return {function: n_bytes + (common if function else 0) for function, n_bytes in sums.items()}


def _by_plain_name(sums: Mapping[str, int]) -> dict[str, int]:
    """The same by the functions' own names: `_ZZ6kernel` is `kernel`."""
    named: dict[str, int] = {}
    for function, n_bytes in sums.items():
        name = _plain("_Z" + function.removeprefix("_ZZ")) if function else ""
        named[name] = max(named.get(name, 0), n_bytes)
    return named


def _named(layout: dict[str, Any], scanned: Sequence[Token]) -> dict[str, Any]:
    """What only the source knows: which variables are `__constant__`, and which arrays a line indexes."""
    constant = constants(scanned)
    return {
        "variables": [{**v, "is_constant": v["name"] in constant} for v in layout["variables"]],
        "arrays": [[line, names] for line, names in indexed_arrays(scanned).items()],
    }


def _plain(name: str) -> str:
    """A variable's own name, out of a mangled one: `_ZZ6kernelE4tile` is `tile`."""
    if not name.startswith("_Z"):
        return name
    found = ""
    at = 2
    while at < len(name):
        match = re.match(r"\d+", name[at:])
        if match is None:
            at += 1
            continue
        length, at = int(match.group()), at + len(match.group())
        found, at = name[at : at + length], at + length
    return found or name
