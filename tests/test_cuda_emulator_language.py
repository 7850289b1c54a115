"""The emulator's device language: kernels in tests/cuda_language, held against numpy and exact arithmetic.

The same files are compiled by nvcc where it is installed: what the emulator accepts here, a GPU's compiler accepts.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gpuprep.counters.cuda_emulator import Buffer, CompileError, Launched, Pointer, Program, build, why_unsupported

pytestmark = pytest.mark.skipif(bool(why_unsupported()), reason=why_unsupported() or "the emulator runs here")

SOURCES = Path(__file__).parent / "cuda_language"
Array = npt.NDArray[Any]
ROUNDINGS = ("nearest", "to_zero", "up", "down")


@cache
def program(name: str, expressions: tuple[str, ...] = ()) -> Program:
    """One of the files, compiled."""
    return build((SOURCES / f"{name}.cu").read_text(encoding="utf-8"), name_expressions=expressions)


def launch(
    compiled: Program, kernel: str, *arguments: Array | int, grid: int = 1, block: int = 32, shared_bytes: int = 0
) -> Launched:
    """Runs a kernel on numpy arrays, in place, and 32-bit integers."""
    arrays = [value for value in arguments if isinstance(value, np.ndarray)]
    buffers = [Buffer(f"array{i}", array.ctypes.data, array.nbytes, None) for i, array in enumerate(arrays)]
    packed: list[bytes | Pointer] = []
    for value in arguments:
        if isinstance(value, np.ndarray):
            packed.append(Pointer(next(i for i, array in enumerate(arrays) if array is value)))
        else:
            packed.append(int(value).to_bytes(4, "little", signed=True))
    shape = ((grid, 1, 1), (block, 1, 1))
    return compiled.launch(kernel, *shape, packed, shared_bytes=shared_bytes, buffers=buffers)


def run(compiled: Program, kernel: str, *arguments: Array | int, **shape: int) -> Launched:
    """As `launch`, and nothing is found wrong."""
    launched = launch(compiled, kernel, *arguments, **shape)
    assert launched.findings == ()
    return launched


def blocks(n: int) -> dict[str, int]:
    """A grid of at least n threads."""
    return {"grid": -(-n // 64), "block": 64}


def float32(value: Fraction, rounding: str) -> float:
    """A fraction rounded to single precision; far from overflow and subnormals."""
    if value == 0:
        return 0.0
    size = abs(value)
    exponent = size.numerator.bit_length() - size.denominator.bit_length() - 24
    if size >= Fraction(2) ** (exponent + 24):
        exponent += 1
    steps = value / Fraction(2) ** exponent
    whole = math.floor(steps)
    up = {
        "nearest": steps - whole > Fraction(1, 2) or (steps - whole == Fraction(1, 2) and whole % 2 == 1),
        "to_zero": steps != whole and steps < 0,
        "up": steps != whole,
        "down": False,
    }[rounding]
    return float((whole + up) * Fraction(2) ** exponent)


def square_root(value: Fraction, rounding: str) -> float:
    """The square root of a fraction, rounded to single precision."""
    with_bits = math.isqrt(int(value * 2**200))
    root = Fraction(with_bits, 2**100)
    sticky = 0 if root * root == value else Fraction(1, 2**101)
    return float32(root + sticky, rounding)


# ---- integers


def _byte_perm(x: int, y: int, selectors: int) -> int:
    data = (x | y << 32).to_bytes(8, "little")
    result = 0
    for i in range(4):
        selector = selectors >> 4 * i & 15
        byte = data[selector & 7]
        result |= (255 * (byte >> 7) if selector & 8 else byte) << 8 * i
    return result


def _signed(x: int, n_bits: int = 32) -> int:
    return x - (1 << n_bits) if x >> (n_bits - 1) & 1 else x


def _parts(x: int, n_bits: int, is_signed: bool) -> list[int]:
    parts = [x >> at & (1 << n_bits) - 1 for at in range(0, 32, n_bits)]
    return [_signed(part, n_bits) for part in parts] if is_signed else parts


def _dot(a: list[int], b: list[int], c: int) -> int:
    return sum(x * y for x, y in zip(a, b, strict=False)) + c


def _integer_row(a: int, b: int, c: int) -> list[int]:
    """What `integers` computes, in Python's integers."""
    m32, m64 = 2**32 - 1, 2**64 - 1
    sa, sb, sc = _signed(a), _signed(b), _signed(c)
    wide_a, wide_b = a << 32 | b, c << 32 | a
    left, right = c & 31, min(c & 63, 32)
    low = (_signed(a & 0xFFFFFF, 24), _signed(b & 0xFFFFFF, 24))
    row = [
        a.bit_count(), 32 - a.bit_length(), (a & -a).bit_length(), int(f"{a:032b}"[::-1], 2), _byte_perm(a, b, c),
        sa * sb >> 32, a * b >> 32, low[0] * low[1], (a & 0xFFFFFF) * (b & 0xFFFFFF),
        _dot(_parts(a, 8, True), _parts(b, 8, True), sc), _dot(_parts(a, 8, False), _parts(b, 8, False), c),
        (b << 32 | a) << left >> 32, (b << 32 | a) >> left, (b << 32 | a) << right >> 32, (b << 32 | a) >> right,
        abs(sa - sb) + c, abs(a - b) + c, (sa + sb) >> 1, (sa + sb + 1) >> 1, (a + b) >> 1, (a + b + 1) >> 1,
    ]  # fmt: skip
    wide = [
        wide_a.bit_count(), 64 - wide_a.bit_length(), (wide_a & -wide_a).bit_length(), int(f"{wide_a:064b}"[::-1], 2),
        wide_a * wide_b >> 64, _signed(wide_a, 64) * _signed(wide_b, 64) >> 64,
    ]  # fmt: skip
    last = [
        min(sa, sb), max(a, b), max(a, b),
        _dot(_parts(a, 16, True), _parts(b, 8, True)[:2], sc), _dot(_parts(a, 16, False), _parts(b, 8, False)[2:], c),
        abs(int(sa / 2)), min(wide_a, wide_b), a & 0x7F7FFFFF, (a & 0x7FEFFFFF) << 32 | b,
    ]  # fmt: skip
    narrow = [value & m32 for value in row] + [value & m64 for value in wide] + [value & m32 for value in last[:6]]
    return [*narrow, *last[6:]]


def test_integer_intrinsics_agree_with_exact_arithmetic() -> None:
    """Every integer intrinsic, on random words and on the edges."""
    edges = [0, 1, 2**31 - 1, 2**31, 2**32 - 1, 0x80808080, 0x7F7F7F7F]
    generator = np.random.default_rng(1)
    words = [*edges, *generator.integers(0, 2**32, 57).tolist()]
    x, y, z = (np.array(generator.permutation(words), dtype=np.uint32) for _ in range(3))
    out = np.zeros((len(words), 36), dtype=np.uint64)
    run(program("integers"), "integers", x, y, z, out, len(words), **blocks(len(words)))
    expected = [_integer_row(*map(int, row)) for row in zip(x, y, z, strict=True)]
    assert out.tolist() == expected


# ---- single precision


def test_directed_roundings_are_exact() -> None:
    """Sum, difference, product, quotient, root and fused multiply-add, in each of the four directions."""
    generator = np.random.default_rng(2)
    n = 128
    x, y, z = (generator.standard_normal(n).astype(np.float32) * scale for scale in (3, 1e-3, 1e-2))
    x[:3], y[:3] = [1, 4, 3], [2, 2, 1]
    out = np.zeros((n, 4, 6), dtype=np.float32)
    run(program("floats"), "rounded", x, y, z, out, n, **blocks(n))
    for i in range(n):
        a, b, c = (Fraction(float(array[i])) for array in (x, y, z))
        for k, rounding in enumerate(ROUNDINGS):
            exact = (a + b, a - b, a * b, a / b, None, a * b + c)
            expected = [square_root(abs(a), rounding) if e is None else float32(e, rounding) for e in exact]
            assert out[i, k].tolist() == expected, (i, rounding)


def _whole(value: float, rounding: str) -> int:
    return {"nearest": round, "to_zero": math.trunc, "up": math.ceil, "down": math.floor}[rounding](value)


def test_conversions_to_integers_round_and_saturate() -> None:
    """Out of range becomes the nearest that fits, and not a number 0 or the top bit."""
    values = [0.5, -0.5, 1.5, 2.5, -2.5, 1e9, 3e9, 5e9, -3e9, 1e19, 2e19, -1e19, math.inf, -math.inf, 7.0, -0.75]
    x = np.array([*values, math.nan], dtype=np.float32)
    out = np.zeros((len(x), 4, 6), dtype=np.int64)
    run(program("floats"), "to_integers", x, out, len(x), **blocks(len(x)))
    ranges = [(-(2**31), 2**31 - 1), (0, 2**32 - 1), (-(2**63), 2**63 - 1), (0, 2**64 - 1)]
    for i, value in enumerate(x[:-1].tolist()):
        for k, rounding in enumerate(ROUNDINGS):
            for j, (low, high) in enumerate([*ranges, ranges[0], ranges[3]]):
                whole = high if value == math.inf else low if value == -math.inf else _whole(value, rounding)
                expected = _signed(min(max(whole, low), high) & 2**64 - 1, 64)
                assert int(out[i, k, j]) == expected, (value, rounding, j)
    assert out[-1, 0].tolist() == [0, 0, -(2**63), -(2**63), -(2**31), -(2**63)]


def test_conversions_from_integers_round_as_asked() -> None:
    """Integers of 32 and 64 bits, and doubles, to single precision."""
    values = [0, 1, 2**24 + 1, 2**24 + 3, 2**31 - 1, -(2**31), 2**62 + 1, 2**63 - 1, -(2**63) + 1, 123456789012345678]
    x = np.array(values, dtype=np.int64)
    out = np.zeros((len(x), 4, 5), dtype=np.float32)
    run(program("floats"), "from_integers", x, out, len(x), **blocks(len(x)))
    for i, value in enumerate(values):
        narrow = value & 2**32 - 1
        exact = [_signed(narrow), narrow, value, value & 2**64 - 1, float(value) / 3.0]
        for k, rounding in enumerate(ROUNDINGS):
            assert out[i, k].tolist() == [float32(Fraction(e), rounding) for e in exact], (value, rounding)


def test_mathematical_functions_agree_with_double_precision() -> None:
    """Accurate and fast names alike are within two units of the last place of the exact result."""
    generator = np.random.default_rng(3)
    n = 64
    x = generator.uniform(-4, 4, n).astype(np.float32)
    y = generator.uniform(0.01, 8, n).astype(np.float32)
    out = np.zeros((n, 40), dtype=np.float32)
    run(program("floats"), "functions", x, y, out, n, **blocks(n))
    erfinv = np.vectorize(_inverse_error)
    erf = np.vectorize(math.erf)
    a, b = x.astype(np.float64), y.astype(np.float64)
    fraction, exponent = np.frexp(a)
    expected = [
        np.sin(a), np.cos(a), np.sin(a), np.exp(a), np.exp(a), np.log(b), np.log2(b), b**a, b**a, b**-0.5, b**0.5,
        np.tanh(a), erf(a), 10**a, 2**a, np.cbrt(b), 1 / np.cbrt(b), np.sin(np.pi * a), np.cos(np.pi * a),
        0.5 * np.vectorize(math.erfc)(-a / math.sqrt(2)), erfinv(a / 8), np.hypot(a, b), np.sqrt(a * a + b * b + 4),
        a / b, np.clip(a, 0, 1), a * b + 0.5, np.maximum(a, b), np.fmod(a, b), np.arctan2(a, b),
        np.copysign(np.floor(np.abs(a) + 0.5), a), np.rint(a), np.trunc(a), a * 8, np.copysign(b, a),
        np.sin(a) + np.cos(a), a - np.trunc(a) + 16 * np.trunc(a), fraction + 16 * exponent, 2 * np.sin(a),
        np.maximum(a, b) - np.minimum(a, b) + np.abs(a), np.ones(n),
    ]  # fmt: skip
    for column, exact in enumerate(expected):
        # A sum of two results is as precise as they are, not as it is small.
        unit = np.maximum(np.spacing(np.abs(exact).astype(np.float32)), 2.0**-24)
        error = np.abs(out[:, column] - exact) / unit
        assert error.max() <= 2, (column, error.argmax())


def _inverse_error(y: float) -> float:
    low, high = -6.0, 6.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if math.erf(middle) < y else (low, middle)
    return low


# ---- 16 bits


def _bfloat16(value: Array) -> Array:
    """bfloat16's nearest, as its bits, from double precision by way of rounding to odd in single."""
    with np.errstate(all="ignore"):
        single = value.astype(np.float32)
    bits = single.view(np.uint32).astype(np.uint64)
    is_exact = (single.astype(np.float64) == value) | ~np.isfinite(value)
    away = np.abs(single.astype(np.float64)) > np.abs(value)
    odd = np.where(is_exact, bits, np.where(away, bits - 1, bits) | 1)
    rounded = (odd + 0x7FFF + (odd >> 16 & 1)) >> 16
    return np.where(np.isnan(value), 0x7FFF, rounded).astype(np.uint16)


class Narrow:
    """A 16-bit type: its file, its values as doubles, its bits from doubles."""

    def __init__(
        self, file: str, infinity: int, widen: Callable[[Array], Array], narrow: Callable[[Array], Array]
    ) -> None:
        self.file, self.infinity, self.widen, self.narrow = file, infinity, widen, narrow

    def same(self, found: Array, expected: Array) -> Array:
        """Equal bits, where any sign and payload of what is not a number will do."""
        is_nan = (expected & 0x7FFF) > self.infinity
        return np.where(is_nan, (found & 0x7FFF) > self.infinity, found == expected)


def _half_bits(value: Array) -> Array:
    with np.errstate(over="ignore", under="ignore"):
        bits = value.astype(np.float16).view(np.uint16)
    return np.where(np.isnan(value), 0x7FFF, bits).astype(np.uint16)


def _from_bfloat16(bits: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


HALF = Narrow("half", 0x7C00, lambda bits: bits.view(np.float16).astype(np.float64), _half_bits)
BFLOAT16 = Narrow("bfloat16", 0x7F80, _from_bfloat16, _bfloat16)
narrow_types = pytest.mark.parametrize("kind", [HALF, BFLOAT16], ids=["half", "bfloat16"])


@narrow_types
def test_narrow_arithmetic_is_correctly_rounded(kind: Narrow) -> None:
    """Operators and intrinsics round once, to nearest even, over subnormals, infinities and what is not a number."""
    generator = np.random.default_rng(4)
    n = 2048
    x, y, z = (generator.integers(0, 2**16, n, dtype=np.uint16) for _ in range(3))
    x[:6], y[:6] = [0, 0x8000, 1, 0x7BFF, 0x7C00, 0x3C01], [0x8000, 0, 1, 0x7BFF, 0xFC00, 0x3C01]
    out = np.zeros((n, 12), dtype=np.uint16)
    run(program(kind.file), "arithmetic", x, y, z, out, n, **blocks(n))
    a, b, c = map(kind.widen, (x, y, z))
    with np.errstate(all="ignore"):
        total = kind.widen(kind.narrow(a + b))
        columns = {
            0: a + b, 1: a - b, 2: a * b, 3: a / b, 5: np.sqrt(np.abs(a)), 6: np.fmax(a, b), 7: np.fmin(a, b),
            8: -a, 9: total * c, 10: np.rint(a), 11: np.where(np.isnan(a + b), 0, np.clip(a + b, 0, 1)),
        }  # fmt: skip
    for column, exact in columns.items():
        found, expected = out[:, column], kind.narrow(exact)
        if column in (6, 7):  # either zero will do
            found, expected = found * (found != 0x8000), expected * (expected != 0x8000)
        same = kind.same(found, expected)
        assert same.all(), (column, int(same.argmin()))


@narrow_types
def test_fused_multiply_add_rounds_once(kind: Narrow) -> None:
    """Also where the sum lies so close to a tie that a rounding to double would hide on which side."""
    generator = np.random.default_rng(5)
    n = 1024
    x, y, z = (generator.integers(0, 2**16, n, dtype=np.uint16) for _ in range(3))
    # 1 + 2^-k and 2^-24 (or less) beside: the product's last bit decides.
    ties = kind.narrow(np.array([1.0 + 2.0**-7, 1.0, 1.5]))
    x[:3], y[:3], z[:3] = ties, kind.narrow(np.array([1.0, 2.0**-8, 2.0**-12])), 1
    out = np.zeros((n, 12), dtype=np.uint16)
    run(program(kind.file), "arithmetic", x, y, z, out, n, **blocks(n))
    a, b, c = map(kind.widen, (x, y, z))
    for i in np.flatnonzero(np.isfinite(a) & np.isfinite(b) & np.isfinite(c)).tolist():
        exact = Fraction(a[i]) * Fraction(b[i]) + Fraction(c[i])
        if exact == 0:
            continue
        nearest = float(exact)
        if Fraction(nearest) != exact:  # to odd, so that the next rounding is the only one that shows
            towards = math.copysign(math.inf, float(exact - Fraction(nearest)))
            bits = np.array([nearest]).view(np.uint64)[0]
            nearest = nearest if bits & 1 else float(np.nextafter(nearest, towards))
        expected = kind.narrow(np.array([nearest]))
        assert out[i, 4] == expected[0], (i, a[i], b[i], c[i])


@narrow_types
def test_narrow_values_convert_exactly(kind: Narrow) -> None:
    """Every finite value widens to itself and comes back; to integers it rounds to nearest even."""
    x = np.arange(2**16, dtype=np.uint16)
    out, whole = np.zeros(2**16, dtype=np.float32), np.zeros(2**16, dtype=np.int32)
    run(program(kind.file), "to_float", x, out, whole, 2**16, **blocks(2**16))
    exact = kind.widen(x)
    is_number = ~np.isnan(exact)
    assert (out[is_number] == exact[is_number]).all()
    assert np.isnan(out[~is_number]).all()
    expected = np.clip(np.rint(np.where(is_number, exact, 0)), -(2**31), 2**31 - 1)
    assert (whole == expected.astype(np.int64)).all()


@narrow_types
def test_narrowing_rounds_in_the_direction_asked_for(kind: Narrow) -> None:
    """To nearest as the reference; the directed ones enclose the value, and to_zero never gains size."""
    generator = np.random.default_rng(6)
    n = 4096
    x = (generator.standard_normal(n) * 2.0 ** generator.integers(-30, 18, n)).astype(np.float32)
    x[:4] = [65520, 65519.99, -1e-9, 3.4e38]
    out = np.zeros((n, 5), dtype=np.uint16)
    run(program(kind.file), "from_float", x, out, n, **blocks(n))
    exact = x.astype(np.float64)
    assert (out[:, 0] == kind.narrow(exact)).all()
    assert (out[:, 4] == kind.narrow(exact * 1.0000001)).all()
    to_zero, up, down = (kind.widen(np.ascontiguousarray(out[:, k])) for k in (1, 2, 3))
    assert ((down <= exact) & (exact <= up)).all()
    assert (np.abs(to_zero) <= np.abs(exact)).all()
    nearest = kind.widen(np.ascontiguousarray(out[:, 0]))
    assert ((nearest == up) | (nearest == down)).all()
    assert ((to_zero == up) | (to_zero == down)).all()


@narrow_types
def test_narrow_comparisons_treat_what_is_not_a_number_as_ieee_does(kind: Narrow) -> None:
    """The operators are false for it but !=, the u forms true, __hne false."""
    edges = np.array([0, 0x8000, 0x3C00, 0xBC00, 0x7FFF, 0x7C00, 1, 0x7F80], dtype=np.uint16)
    x, y = np.repeat(edges, len(edges)), np.tile(edges, len(edges))
    out = np.zeros(len(x), dtype=np.int32)
    run(program(kind.file), "comparisons", x, y, out, len(x), **blocks(len(x)))
    a, b = kind.widen(x), kind.widen(y)
    is_nan = np.isnan(a) | np.isnan(b)
    relations = [a < b, a <= b, a > b, a >= b, a == b, a != b, np.isnan(a), is_nan | (a < b), ~is_nan & (a != b)]
    expected = sum(relation.astype(np.int32) << bit for bit, relation in enumerate(relations))
    assert (out == expected).all()


@narrow_types
def test_narrow_pairs_work_element_by_element(kind: Narrow) -> None:
    """Operators and the packing functions of the pair types."""
    generator = np.random.default_rng(7)
    n = 64
    x, y = (kind.narrow(generator.standard_normal((n, 2))).reshape(n, 2) for _ in range(2))
    out = np.zeros((n, 8, 2), dtype=np.uint16)
    run(program(kind.file), "pairs", x, y, out, n, **blocks(n))
    a, b = kind.widen(x.ravel()).reshape(n, 2), kind.widen(y.ravel()).reshape(n, 2)
    plus_one = np.stack([(a[:, 0] + 1).astype(np.float32).astype(np.float64), b[:, 1]], axis=1)
    expected = [
        a + b, a * b + a, a[:, ::-1], plus_one, np.stack([a[:, 1], b[:, 0]], axis=1), a * 2, b, a[:, [0, 0]],
    ]  # fmt: skip
    for column, exact in enumerate(expected):
        assert (out[:, column].ravel() == kind.narrow(np.ascontiguousarray(exact).ravel())).all(), column


@narrow_types
def test_narrow_values_move_through_shared_memory_shuffles_and_atomics(kind: Narrow) -> None:
    """A shared array of the type is read and written two bytes at a time, and nothing else is."""
    values = np.arange(32, dtype=np.float64)
    x, out = kind.narrow(values), np.zeros(35, dtype=np.uint16)
    launched = run(program(kind.file), "moved", x, out)
    found = kind.widen(out)
    assert found[:32].tolist() == [float((i ^ 1) + 32) for i in range(32)]
    assert found[33:].tolist() == [2.5, 7.5]
    assert launched.counts.bytes_loaded == 64
    integers, halves = np.array([0, 1, -3, 2049, 70000, -(2**31)], dtype=np.int32), np.zeros(6, dtype=np.uint16)
    run(program(kind.file), "from_integer", integers, halves, 6)
    assert (halves == kind.narrow(integers.astype(np.float64))).all()


# ---- warps


def _sources(operand: int, width: int) -> list[list[int]]:
    """For each of the four shuffles, the lane from which each lane reads."""
    rows: list[list[int]] = [[], [], [], []]
    for lane in range(32):
        first = lane - lane % width
        last = first + width - 1
        rows[0].append(first + operand % width)
        rows[1].append(lane - operand if lane - operand >= first else lane)
        rows[2].append(lane + operand if lane + operand <= last else lane)
        rows[3].append(lane ^ operand if lane ^ operand <= last else lane)
    return rows


@pytest.mark.parametrize("width", [32, 16, 4])
@pytest.mark.parametrize("operand", [0, 1, 5, 16])
def test_shuffles_read_the_lane_that_the_manual_says(operand: int, width: int) -> None:
    """All four, for values of 4 and 8 bytes, within segments of each width."""
    for kernel, dtype in (("shuffle_int", np.int32), ("shuffle_double", np.float64)):
        x, out = np.arange(100, 132, dtype=dtype), np.zeros((4, 32), dtype=dtype)
        run(program("warps"), kernel, x, out, operand, width)
        assert out.tolist() == (np.array(_sources(operand, width)) + 100).tolist()


def test_votes_matches_and_reductions_cover_each_warp() -> None:
    """Two warps of 32, and a half of each by itself."""
    x = np.random.default_rng(8).integers(0, 12, 64, dtype=np.uint32)
    out = np.zeros((64, 16), dtype=np.uint32)
    run(program("warps"), "votes", x, out, block=64)
    counted = int((x % 3 == 0).sum()) + 1000 * int((x == 5).any()) + 2000 * int((x < 100).all())
    for thread in range(64):
        mine = x[thread // 32 * 32 :][:32].tolist()
        value = int(x[thread])

        def ballot(predicates: Sequence[bool]) -> int:
            return sum(1 << lane for lane, is_true in enumerate(predicates) if is_true)

        xor = 0
        for other in mine:
            xor ^= other
        expected = [
            ballot([v % 3 == 0 for v in mine]), int(5 in mine), 1, ballot([v % 4 == value % 4 for v in mine]),
            2**32 - 1 if len(set(mine)) == 1 else 0, int(len(set(mine)) == 1), sum(mine), max(mine),
            (min(mine) - 10) % 2**32, xor, 2**32 - 1, 2**32 - 1,
        ]  # fmt: skip
        half = [ballot([v % 2 == 1 for v in mine[:16]]), sum(mine[:16])] if thread % 32 < 16 else [0, 0]
        assert out[thread].tolist() == [*expected, *half, 32, counted], thread


def test_a_tree_that_reads_past_its_mask_and_drops_it_is_no_fault() -> None:
    """Lanes of the tail get what is not a number, and nobody uses it."""
    x, out = np.arange(32, dtype=np.float32), np.zeros(1, dtype=np.float32)
    run(program("warps"), "tail", x, out)
    assert out[0] == sum(range(16))


def test_a_shuffle_from_a_lane_outside_its_mask_is_found() -> None:
    """With its line; and the value is not a number, so that using it shows."""
    x, out = np.arange(32, dtype=np.float32), np.zeros(16, dtype=np.float32)
    launched = launch(program("warps"), "outside", x, out)
    source = (SOURCES / "warps.cu").read_text(encoding="utf-8").splitlines()
    assert {finding.kind for finding in launched.findings} == {"bad_sync"}
    assert all("__shfl_sync(0xffffu" in source[finding.line - 1] for finding in launched.findings)
    assert np.isnan(out).all()


# ---- atomics


def test_integer_atomics_end_as_any_order_would() -> None:
    """All operations, of 96 threads in three blocks, counted one a thread."""
    n = 96
    counts = np.zeros(4, dtype=np.int32)
    words = np.array([0, 0, 0, 255, 0, 0, 0, 0], dtype=np.uint32)
    wide = np.zeros(3, dtype=np.uint64)
    launched = run(program("atomics"), "integers", counts, words, wide, grid=3, block=32)
    xor = 0
    for i in range(n):
        xor ^= i
    assert counts.tolist() == [n * (n - 1) // 2, -2 * n, -(n - 1), n - 1]
    assert words.tolist() == [3 * n, n % 10, (-n) % 10, 0, 2**32 - 1, xor, 7, n]
    assert wide.tolist() == [n << 33, (n - 1) << 40, 5 * n]
    assert launched.counts.atomics >= 14 * n


def test_floating_point_atomics_add_and_exchange() -> None:
    """Single and double precision."""
    single, double = np.array([0, 9, 0], dtype=np.float32), np.zeros(1)
    run(program("atomics"), "floats", single, double, grid=2, block=64)
    assert (single.tolist(), double.tolist()) == ([64.0, 2.0, 11.0], [32.0])


# ---- groups, tensor cores, asynchronous copies


def test_cooperative_groups_rank_and_reduce() -> None:
    """The block, tiles of 8, and tiles of 4 in them."""
    x, out = np.random.default_rng(9).integers(0, 9, 64, dtype=np.int32), np.zeros((64, 12), dtype=np.int32)
    run(program("groups"), "groups", x, out, block=64)
    for i in range(64):
        tile = x[i // 8 * 8 :][:8].tolist()
        quad = x[i // 4 * 4 :][:4].tolist()
        ballot = sum(1 << lane for lane, value in enumerate(tile) if value % 2)
        following = tile[i % 8 + 1] if i % 8 < 7 else tile[7]
        expected = [i, 64, i % 8, 8, i // 8, 8, sum(tile), tile[2], following, ballot, int(3 in tile), max(quad)]
        assert out[i].tolist() == expected


WMMA_KERNELS = tuple(
    f"{kind}_{layouts}"
    for kind in ("half_float", "half_half", "bfloat16_float")
    for layouts in ("rr", "rc", "cr", "cc")
)


@pytest.mark.parametrize("kernel", WMMA_KERNELS)
def test_wmma_multiplies_tiles_in_every_layout(kernel: str) -> None:
    """d = 2·(a·b + c), operands by row or column, with the sectors of the hardware's loads and stores."""
    generator = np.random.default_rng(10)
    kind = BFLOAT16 if kernel.startswith("bfloat16") else HALF
    ldm = 24
    a, b = (kind.narrow(generator.standard_normal((16, ldm))).reshape(16, ldm) for _ in range(2))
    is_half = "_half_" in kernel
    values = generator.standard_normal((16, ldm))
    c = kind.narrow(values).reshape(16, ldm) if is_half else values.astype(np.float32)
    d = np.zeros_like(c)
    a, b, c, d = map(_aligned, (a, b, c, d))
    launched = run(program("tensor_cores", WMMA_KERNELS), kernel, a, b, c, d, ldm)
    wide_a, wide_b = (kind.widen(operand.ravel()).reshape(16, ldm)[:, :16] for operand in (a, b))
    wide_a, wide_b = (wide_a.T if kernel[-2] == "c" else wide_a), (wide_b.T if kernel[-1] == "c" else wide_b)
    wide_c, wide_d = (kind.widen(m.ravel()).reshape(16, ldm) if is_half else m for m in (c, d))
    in_order = (lambda m: m[:, :16]) if kernel[-1] == "r" else (lambda m: m[:, :16].T)
    expected = 2 * (wide_a @ wide_b + in_order(wide_c))
    error = np.abs(in_order(wide_d) - expected).max()
    assert error < (0.05 if is_half else 1e-5)
    assert launched.counts.mma == 1
    # Four loads of 4 bytes a lane for each operand, eight sectors each.
    operand_rows = [row for row in launched.counts.sites if row.kind == "load" and row.requests == 4]
    assert operand_rows[0].sectors == 32


def _aligned(array: Array) -> Array:
    """A copy at an address that wmma asks for."""
    storage = np.zeros(array.nbytes + 32, dtype=np.uint8)
    at = -storage.ctypes.data % 32
    copy = storage[at : at + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def test_a_filled_fragment_is_stored_whole() -> None:
    """256 elements, once each, eight sectors a store of 8 bytes a lane."""
    d = _aligned(np.zeros((16, 16), dtype=np.float32))
    launched = run(program("tensor_cores", WMMA_KERNELS), "filled", d)
    assert (d == 1.5).all()
    assert (launched.counts.bytes_stored, launched.counts.sectors_stored) == (1024, 32)


def test_a_misaligned_wmma_tile_is_refused_as_the_manual_does() -> None:
    """An address that is no multiple of 32 bytes is undefined on a GPU."""
    a, d = _aligned(np.zeros(512, dtype=np.uint16)), np.zeros(32, dtype=np.float32)
    launched = launch(program("tensor_cores", WMMA_KERNELS), "misaligned", a, d)
    assert [finding.kind for finding in launched.findings] == ["assert"]
    assert "32 bytes" in launched.findings[0].message


def test_asynchronous_copies_arrive_at_the_wait() -> None:
    """Two stages in flight, and zeros where fewer bytes are copied."""
    x = np.random.default_rng(11).standard_normal((4, 64, 4)).astype(np.float32)
    out = np.zeros_like(x)
    run(program("pipeline"), "pipeline", x, out, 4, block=64)
    expected = x[:, ::-1].copy()
    expected[1:, 63, 2:] = 0
    assert (out == expected).all()


# ---- the language


def test_templates_lambdas_constants_and_both_kinds_of_shared_memory_work_together() -> None:
    """And printf reaches the launch's output, in the values' own format."""
    x = np.random.default_rng(12).standard_normal(64).astype(np.float32)
    out, pairs = np.zeros(66, dtype=np.float32), np.ones((64, 2), dtype=np.float32)
    launched = run(program("language"), "features", x, out, pairs, block=64, shared_bytes=256)
    for i in range(64):
        start = i % 16
        terms = [x[start + k] + np.float32(i % 4 + 1) for k in range(4)]
        expected = sum(terms) + x[i % 8 * 8 + i // 8] + (10, 20)[i % 2] + 3
        assert abs(out[i] - expected) < 1e-4
    assert (pairs == [2, 4]).all()
    assert launched.output == f"thread 5 of 64: {out[5]:.2f} seen\n"
    assert out[64:].tolist() == [np.float32(math.pi) + 1, 1.0]


@pytest.mark.parametrize("kernel", ["vectors", "hinted"])
def test_a_vector_is_one_access_of_16_bytes(kernel: str) -> None:
    """As an argument and result of a function that was not to be inlined, and with cache hints."""
    x, out = np.arange(512, dtype=np.float32), np.zeros(512, dtype=np.float32)
    launched = run(program("language"), kernel, x, out, 128, grid=2, block=64)
    counts = launched.counts
    assert (out == x * (2 if kernel == "vectors" else 1)).all()
    assert (counts.load_requests, counts.sectors_per_load) == (4, 16.0)
    assert (counts.store_requests, counts.sectors_per_store) == (4, 16.0)


def test_a_function_may_call_itself() -> None:
    """Recursion stays a call."""
    out = np.zeros(20, dtype=np.uint64)
    run(program("language"), "recursive", out, block=20)
    assert out.tolist() == [math.factorial(i) for i in range(20)]


def test_a_failed_assertion_names_its_line() -> None:
    """With the condition as it is written."""
    launched = launch(program("language"), "failing", np.array([1, 1, 0, 1], dtype=np.int32), block=4)
    source = (SOURCES / "language.cu").read_text(encoding="utf-8").splitlines()
    assert [finding.kind for finding in launched.findings] == ["assert"]
    assert "assert(x[threadIdx.x] > 0)" in source[launched.findings[0].line - 1]


def test_an_instance_of_a_template_is_launched_by_its_expression() -> None:
    """As with CuPy's name expressions."""
    x, out = np.arange(8, dtype=np.float32), np.zeros(8, dtype=np.float32)
    run(program("language", ("generic<float, 3>",)), "generic<float, 3>", x, out, block=8)
    assert (out == 3 * x).all()


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("half h = x[0];", "half"),
        ("x[0] = __shfl_down(x[0], 1);", "__shfl_down"),
        ("threadIdx.x = 3;", "read-only"),
        ('int a[warpSize]; a[threadIdx.x] = 1; static_assert(warpSize == 32, "");', "constant"),
        ("x[0] = rand();", "rand"),
        ("x[0] = std::sqrt(x[0]);", "std"),
        ("half h; float f = h + 1.0f;", "half"),
    ],
)
def test_what_a_gpus_compiler_refuses_is_refused(body: str, named: str) -> None:
    """Names that need a header, that a GPU has lost or never had, and assignments to built-ins."""
    with pytest.raises(CompileError) as caught:
        build(f'extern "C" __global__ void kernel(float* x) {{\n  {body}\n}}\n')
    assert caught.value.line == 2
    assert named in caught.value.log


def test_mixed_half_and_float_arithmetic_is_ambiguous_as_on_a_gpu() -> None:
    """`half + float` has two readings, and nvcc refuses it as well."""
    source = '#include <cuda_fp16.h>\nextern "C" __global__ void k(__half* x, float* y) {\n  y[0] = x[0] + 1.0f;\n}\n'
    with pytest.raises(CompileError, match="ambiguous"):
        build(source)


HEADERS = (
    "cuda_runtime.h", "cuda_fp16.h", "cuda_bf16.h", "mma.h", "cooperative_groups.h", "cooperative_groups/reduce.h",
    "cuda_pipeline.h", "cuda_pipeline_primitives.h", "math_constants.h", "vector_types.h",
    "device_launch_parameters.h", "stdint.h", "cstdint", "stddef.h", "limits.h", "climits", "float.h", "cfloat",
    "math.h", "cmath", "assert.h", "stdio.h",
)  # fmt: skip


def test_the_usual_headers_are_the_emulators_own() -> None:
    """All together, with a name of each; nothing of the machine's comes in with them."""
    includes = "".join(f"#include <{header}>\n" for header in HEADERS)
    body = (
        "  uint32_t u = UINT_MAX; int64_t wide = INT64_MAX; size_t n = sizeof(wide);\n"
        "  x[0] = u + wide + n + FLT_MAX + INFINITY + CUDART_INF_F + M_PI + __half2float(CUDART_INF_FP16);\n"
    )
    kernel = f'{includes}extern "C" __global__ void kernel(float* x) {{\n{body}}}\n'
    x = np.zeros(1, dtype=np.float32)
    run(build(kernel), "kernel", x, block=1)
    assert x[0] == math.inf
    with pytest.raises(CompileError):
        build(kernel.replace("x[0] = u", 'x[0] = getenv("HOME") != 0; x[0] += u'))


@pytest.mark.parametrize("header", ["vector", "iostream", "unistd.h", "algorithm"])
def test_a_header_of_the_machine_is_not_found(header: str) -> None:
    """Neither does the compiler that a GPU's kernels are compiled with find it."""
    with pytest.raises(CompileError, match=re.escape(header)):
        build(f'#include <{header}>\nextern "C" __global__ void kernel() {{}}\n')


@pytest.mark.soak
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize("source", sorted(SOURCES.glob("*.cu")), ids=lambda path: path.stem)
def test_nvcc_compiles_the_same_files(source: Path, tmp_path: Path) -> None:
    """What the emulator is tested with is CUDA C++."""
    command = ["nvcc", "-std=c++17", "-arch=sm_90", "-cubin", "-o", str(tmp_path / "out.cubin"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
