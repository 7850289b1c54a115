"""The kinds of faults that are planted in the reference kernels, and what the grader must make of each.

What would be the same as the original on every graded input is not in the list: in the interpreter a masked lane
without `other` holds 0, so that sums don't miss it, and TF32 is no different from float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Edit = tuple[str, str]
"""A snippet that occurs once in the reference, and what stands in its place; `$name` is a parameter of the site."""


@dataclass(frozen=True)
class Site:
    """One way to make a mistake in one exercise.

    Args:
        exercise: its id.
        edits: what is replaced.
        choices: the values that each parameter may take.
        expect: outcome to the diagnoses that are right with it, where they are not the kind's.
        names_line: the report must point at the first line that was edited.
        is_fixed: leave the block sizes alone, since the fault depends on them.
    """

    exercise: str
    edits: tuple[Edit, ...]
    choices: Mapping[str, Sequence[object]] = field(default_factory=dict)
    expect: Mapping[str, frozenset[str]] | None = None
    names_line: bool = False
    is_fixed: bool = False


def _all(outcome: str, *diagnoses: str) -> dict[str, frozenset[str]]:
    return {outcome: frozenset(diagnoses or ("",))}


WRONG = "WRONG_VALUES"
OUTSIDE = _all("OUT_OF_BOUNDS", "out_of_bounds")
TAIL = _all(WRONG, "tail")
DROPPED = _all(WRONG, "dropped_term")
UNWRITTEN = _all(WRONG, "never_written")
STRIDE = _all(WRONG, "stride")
EXTRA = _all("TOO_MUCH_WORK", "extra_work")
LAUNCHES = _all("TOO_MUCH_WORK", "too_many_launches")

# Snippets that several faults replace.
X1 = "tl.load(x_ptr + offsets, mask=mask)"
Y1 = "tl.load(y_ptr + offsets, mask=mask)"
STORE1 = "tl.store(out_ptr + offsets, x + y, mask=mask)"
LAUNCH1 = "_add_kernel[(triton.cdiv(n_elements, block_size),)](x, y, out, n_elements, BLOCK_SIZE=block_size)"
X2 = "tl.load(x_ptr + offsets, mask=offsets < n_elements, other=0.0)"
PARTIAL2 = "tl.store(partials_ptr + program_id, tl.sum(x.to(tl.float32), axis=0))"
PARTIALS2 = "tl.load(partials_ptr + offsets, mask=offsets < n_partials, other=0.0)"
STORE2 = "tl.store(out_ptr, tl.sum(sums, axis=0))"
LAUNCH2 = "_sum_of_partials_kernel[(1,)](partials, out, n_partials, BLOCK_SIZE=8192, num_warps=8)"
A3 = "tl.load(a_ptrs, mask=(rows[:, None] < M) & has_k[None, :], other=0.0)"
B3 = "tl.load(b_ptrs, mask=has_k[:, None] & (cols[None, :] < N), other=0.0)"
A_PTRS3 = "a_ptr + rows[:, None] * a_row_stride + ks[None, :] * a_col_stride"
B_PTRS3 = "b_ptr + ks[:, None] * b_row_stride + cols[None, :]"
OUT_PTRS3 = "out_ptr + rows[:, None] * out_row_stride + cols[None, :]"
DOT3 = 'accumulator = tl.dot(a, b, accumulator, input_precision="ieee")'
STORE3 = "tl.store(out_ptrs, accumulator, mask=(rows[:, None] < M) & (cols[None, :] < N))"
READ3 = "tl.load(out_ptrs, mask=(rows[:, None] < M) & (cols[None, :] < N), other=0.0)"
LAUNCH3 = "_matmul_kernel[(_n_tiles(M, N, tiles),)]"
LOOP3 = "range(0, K, BLOCK_K)"
X_PTRS4 = "x_ptr + row * x_row_stride + cols"
X4 = 'tl.load(x_ptr + row * x_row_stride + cols, mask=mask, other=-float("inf"))'
EXP4 = "tl.exp(x - tl.max(x, axis=0))"
STORE4 = "tl.store(out_ptr + row * out_row_stride + cols, numerator * inverse, mask=mask)"
LAUNCH4 = "_softmax_kernel[(n_rows,)](x, out, x.stride(0), out.stride(0), n_cols,"
OUT4 = "out = torch.empty((n_rows, n_cols), dtype=x.dtype, device=x.device)"

HALF = ("float16", "bfloat16")
NEAR = range(1, 65)
"""Distances by which a pointer is off."""
FEW = (1, 2, 3)
FACTORS = (1.01, 0.99, *(round(sign * 1.2**power, 4) for power in range(-12, 13) if power for sign in (1, -1)))
AMOUNTS = (*(round(sign * 1.5**power, 4) for power in range(-6, 7) for sign in (1, -1)),)

# Several rows a program: another honest softmax, and one whose reductions have more than one axis.
_ROWS_FORM: tuple[Edit, ...] = (
    (
        "row = tl.program_id(axis=0).to(tl.int64)",
        "row = (tl.program_id(axis=0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]",
    ),
    ("cols = tl.arange(0, BLOCK_SIZE)", "cols = tl.arange(0, BLOCK_SIZE)[None, :]"),
    ("mask = cols < n_cols", "mask = (cols < n_cols) & (row < n_rows)"),
    ("n_cols, BLOCK_SIZE: tl.constexpr", "n_cols, n_rows, ROWS: tl.constexpr, BLOCK_SIZE: tl.constexpr"),
    (
        LAUNCH4,
        "_softmax_kernel[(triton.cdiv(n_rows, $r),)](x, out, x.stride(0), out.stride(0), n_cols, n_rows, ROWS=$r,",
    ),
)

KINDS: Mapping[str, tuple[Mapping[str, frozenset[str]], tuple[Site, ...]]] = {
    # Sizes that don't divide the block are among every exercise's cases, so the last program leaves the tensor.
    "load without its mask": (
        OUTSIDE,
        (
            Site("ex_01", ((X1, "tl.load(x_ptr + offsets$m)"),), {"m": ("", ", mask=offsets >= 0")}, names_line=True),
            Site("ex_01", ((Y1, "tl.load(y_ptr + offsets$m)"),), {"m": ("", ", mask=offsets >= 0")}, names_line=True),
            Site("ex_02", ((X2, "tl.load(x_ptr + offsets)"),), names_line=True),
            Site("ex_02", ((PARTIALS2, "tl.load(partials_ptr + offsets)"),), names_line=True),
            Site("ex_03", ((A3, "tl.load(a_ptrs)"),), names_line=True),
            Site("ex_03", ((A3, "tl.load(a_ptrs, mask=has_k[None, :], other=0.0)"),), names_line=True),
            Site("ex_03", ((B3, "tl.load(b_ptrs)"),), names_line=True),
            Site("ex_03", ((B3, "tl.load(b_ptrs, mask=has_k[:, None], other=0.0)"),), names_line=True),
            Site("ex_04", ((X4, "tl.load(x_ptr + row * x_row_stride + cols)"),), names_line=True),
        ),
    ),
    "store without its mask": (
        OUTSIDE,
        (
            Site("ex_01", ((STORE1, "tl.store(out_ptr + offsets, x + y)"),), names_line=True),
            Site("ex_01", ((STORE1, "tl.store(out_ptr + offsets, x + y, mask=offsets >= $k)"),), {"k": (0, 1, 2)}),
            Site("ex_03", ((STORE3, "tl.store(out_ptrs, accumulator)"),), names_line=True),
            Site("ex_03", ((STORE3, "tl.store(out_ptrs, accumulator, mask=rows[:, None] < M)"),), names_line=True),
            Site("ex_03", ((STORE3, "tl.store(out_ptrs, accumulator, mask=cols[None, :] < N)"),), names_line=True),
            Site("ex_04", ((STORE4, STORE4.replace(", mask=mask", "")),), names_line=True),
        ),
    ),
    # Each row's sum then has terms that are not in the row: it is off by a factor of its own.
    "lanes past the end not neutral": (
        _all(WRONG, "scaled"),
        (
            Site(
                "ex_04", (('other=-float("inf")', "other=$c"),), {"c": (*(quarter / 4 for quarter in range(-24, 17)),)}
            ),
        ),
    ),
    "lanes past the end hold anything": (
        _all(WRONG, "uninitialised"),
        tuple(
            Site(exercise, ((f"{load}, other={other}", load),), names_line=True, is_fixed=exercise > "ex_04")
            for exercise, load, other in (
                ("ex_02", "mask=offsets < n_elements", "0.0"),
                ("ex_02", "mask=offsets < n_partials", "0.0"),
                ("ex_03", "mask=(rows[:, None] < M) & has_k[None, :]", "0.0"),
                ("ex_03", "mask=has_k[:, None] & (cols[None, :] < N)", "0.0"),
                ("ex_04", "mask=mask", '-float("inf")'),
                ("ex_20", "tl.load(residual_ptr + row * residual_row_stride + cols, mask=mask", "0.0"),
                ("ex_20", "tl.load(dout_ptr + row * dout_row_stride + cols, mask=mask", "0.0"),
                ("ex_20", "tl.load(partials_ptr + (first + rows)[:, None] * n_cols + cols[None, :], mask=mask", "0.0"),
                ("ex_21", "tl.load(w_ptr + cols[:, None] * K + ks[None, :], (cols[:, None] < N) & has_k", "0.0"),
                ("ex_24", "tl.load(v_ptr + places, mask=is_live[:, None]", "0.0"),
                ("ex_24", "tl.load(lse_ptr + places, mask=is_live", '-float("inf")'),
            )
        ),
    ),
    # Some lane at either end of some tensor always leaves it: what a pointer is off by, the mask doesn't know.
    "pointer shifted": (
        OUTSIDE,
        tuple(
            Site(exercise, ((old, f"{old} {sign} $k"),), {"k": NEAR})
            for sign in "+-"
            for exercise, old in (
                ("ex_01", "x_ptr + offsets"),
                ("ex_01", "y_ptr + offsets"),
                ("ex_01", "out_ptr + offsets"),
                ("ex_02", "x_ptr + offsets"),
                ("ex_02", "partials_ptr + program_id"),
                ("ex_02", "partials_ptr + offsets"),
                ("ex_03", A_PTRS3),
                ("ex_03", B_PTRS3),
                ("ex_03", OUT_PTRS3),
                ("ex_04", X_PTRS4),
                ("ex_04", "out_ptr + row * out_row_stride + cols"),
            )
        ),
    ),
    # Wrapped around instead, the same offset stays inside, and values sit beside their places.
    "result shifted": (
        _all(WRONG, "shifted"),
        (
            *(
                Site(exercise, ((old, new),), {"k": range(1, 17)})
                for exercise, old, new in (
                    ("ex_01", "out_ptr + offsets", "out_ptr + (offsets + $k) % n_elements"),
                    ("ex_01", "out_ptr + offsets", "out_ptr + (offsets + $k * (n_elements - 1)) % n_elements"),
                    ("ex_03", OUT_PTRS3, OUT_PTRS3.replace("cols[None, :]", "(cols[None, :] + $k) % N")),
                    ("ex_03", OUT_PTRS3, OUT_PTRS3.replace("rows[:, None]", "((rows[:, None] + $k) % M)")),
                    ("ex_04", STORE4, STORE4.replace("+ cols", "+ (cols + $k) % n_cols")),
                    ("ex_04", X_PTRS4, X_PTRS4.replace("cols", "(cols + $k) % n_cols")),
                    ("ex_04", X_PTRS4, X_PTRS4.replace("row *", "(row + $k) % tl.num_programs(0) *")),
                )
            ),
        ),
    ),
    # Of two sizes that differ, the larger one's multiple leaves the tensor; in padded rows it hits the padding.
    "strides swapped": (
        OUTSIDE,
        (
            Site("ex_03", (("a.stride(0), a.stride(1)", "a.stride(1), a.stride(0)"),)),
            Site("ex_03", (("a.stride(0), a.stride(1), b.stride(0)", "b.stride(0), a.stride(1), a.stride(0)"),)),
            Site("ex_03", ((A_PTRS3, "a_ptr + rows[:, None] * a_col_stride + ks[None, :] * a_row_stride"),)),
            Site("ex_03", ((B_PTRS3, "b_ptr + ks[:, None] + cols[None, :] * b_row_stride"),)),
            Site("ex_03", ((OUT_PTRS3, "out_ptr + rows[:, None] + cols[None, :] * out_row_stride"),)),
            Site("ex_04", (("x.stride(0), out.stride(0)", "out.stride(0), x.stride(0)"),)),
            Site("ex_04", (("x.stride(0), out.stride(0)", "x.stride(1), x.stride(0)"),)),
            Site("ex_04", ((X_PTRS4, "x_ptr + row * out_row_stride + cols"),)),
            Site("ex_04", ((STORE4, STORE4.replace("out_row_stride", "x_row_stride")),)),
        ),
    ),
    # A multiple of the row's number leaves the tensor, or lands in the gaps of a padded or strided input.
    "stride wrong": (
        OUTSIDE,
        (
            Site("ex_03", ((A_PTRS3, A_PTRS3.replace("a_row_stride", "K")),)),
            Site("ex_03", ((A_PTRS3, A_PTRS3.replace(" * a_col_stride", "")),)),
            Site("ex_03", ((A_PTRS3, A_PTRS3.replace("a_row_stride", "(a_row_stride + $k)")),), {"k": FEW}),
            Site("ex_03", ((B_PTRS3, B_PTRS3.replace("b_row_stride", "(b_row_stride + $k)")),), {"k": FEW}),
            Site("ex_03", ((OUT_PTRS3, OUT_PTRS3.replace("out_row_stride", "M")),)),
            # The second tile along K comes from other elements of the input; in blocks of 64, no view has a second one.
            Site("ex_03", (("a_ptrs += BLOCK_K * a_col_stride", "a_ptrs += BLOCK_K"),), expect=STRIDE, is_fixed=True),
            Site("ex_04", ((X_PTRS4, X_PTRS4.replace("x_row_stride", "n_cols")),)),
            Site("ex_04", ((X_PTRS4, X_PTRS4.replace("x_row_stride", "(x_row_stride + $k)")),), {"k": NEAR}),
            Site("ex_04", ((X_PTRS4, X_PTRS4.replace("x_row_stride", "(x_row_stride - $k)")),), {"k": FEW}),
            Site("ex_04", ((X_PTRS4, X_PTRS4.replace("x_row_stride", "x_row_stride * $k")),), {"k": (2, 3, 4)}),
            Site("ex_04", ((STORE4, STORE4.replace("out_row_stride", "(out_row_stride + $k)")),), {"k": NEAR}),
            Site("ex_04", ((STORE4, STORE4.replace("out_row_stride", "out_row_stride * $k")),), {"k": (2, 3, 4)}),
        ),
    ),
    # One of k lines is where it belongs, the others repeat it.
    "every k-th line read": (
        STRIDE,
        tuple(
            Site(exercise, ((old, new),), {"k": range(2, 9)})
            for exercise, old, new in (
                ("ex_01", "x_ptr + offsets", "x_ptr + offsets // $k * $k"),
                ("ex_01", "y_ptr + offsets", "y_ptr + offsets // $k * $k"),
                ("ex_03", A_PTRS3, A_PTRS3.replace("rows[:, None]", "(rows[:, None] // $k * $k)")),
                ("ex_03", B_PTRS3, B_PTRS3.replace("cols[None, :]", "cols[None, :] // $k * $k")),
                ("ex_04", X_PTRS4, X_PTRS4.replace("row *", "(row // $k * $k) *")),
            )
        ),
    ),
    # The last block or row has no program: it keeps its poison. A sum lacks its terms, or takes the poison in.
    "grid too small": (
        TAIL,
        (
            *(
                Site("ex_01", (("(triton.cdiv(n_elements, block_size),)", f"({grid},)"),))
                for grid in (
                    "n_elements // block_size",
                    "triton.cdiv(n_elements, block_size) - 1",
                    "max(1, n_elements // block_size)",
                    "(n_elements + block_size - 2) // block_size",
                )
            ),
            Site("ex_02", (("= triton.cdiv(n_elements, block_size)", "= n_elements // block_size"),), expect=DROPPED),
            Site("ex_02", (("[(n_partials,)]", "[(n_elements // block_size,)]"),), expect=UNWRITTEN),
            Site("ex_02", (("[(n_partials,)]", "[(max(n_partials - $k, 0),)]"),), {"k": FEW}, expect=UNWRITTEN),
            Site("ex_03", ((LAUNCH3, "_matmul_kernel[(_n_tiles(M, N, tiles) - 1,)]"),)),
            Site("ex_03", (('triton.cdiv(M, tiles["BLOCK_M"]) *', 'M // tiles["BLOCK_M"] *'),)),
            # Every case but one has a single tile along N, so that most outputs have no program at all; of it, the
            # last columns have none.
            Site(
                "ex_03",
                (('* triton.cdiv(N, tiles["BLOCK_N"])', '* (N // tiles["BLOCK_N"])'),),
                expect=_all(WRONG, "never_written", "tail"),
            ),
            Site("ex_04", (("[(n_rows,)]", "[(max(n_rows - $k, $least),)]"),), {"k": FEW, "least": (0, 1)}),
            Site("ex_04", (("[(n_rows,)]", "[(n_rows // $k * $k,)]"),), {"k": (2, 4, 8)}),
        ),
    ),
    # One too many leaves the tensor, one too few leaves out the end.
    "mask off by one": (
        OUTSIDE,
        (
            Site("ex_01", (("offsets < n_elements", "offsets <= n_elements"),)),
            Site("ex_01", ((X1, "tl.load(x_ptr + offsets, mask=offsets < n_elements + $k)"),), {"k": FEW}),
            Site("ex_01", (("offsets < n_elements", "offsets < n_elements - $k"),), {"k": FEW}, expect=TAIL),
            Site(
                "ex_01",
                ((X1, "tl.load(x_ptr + offsets, mask=offsets < n_elements - $k)"),),
                {"k": FEW},
                expect=_all(WRONG, "uninitialised"),
                names_line=True,
            ),
            Site("ex_02", (("offsets < n_elements", "offsets <= n_elements"),)),
            Site("ex_02", (("offsets < n_elements", "offsets < n_elements - $k"),), {"k": FEW}, expect=DROPPED),
            Site("ex_02", (("offsets < n_partials", "offsets <= n_partials"),)),
            Site("ex_02", (("offsets < n_partials", "offsets < n_partials - 1"),), expect=DROPPED),
            Site("ex_03", (("ks < K - k_start", "ks <= K - k_start"),)),
            Site("ex_03", (("ks < K - k_start", "ks < K - k_start - $k"),), {"k": FEW}, expect=DROPPED),
            Site("ex_03", ((A3, A3.replace("< M", "<= M")),)),
            Site("ex_03", ((A3, A3.replace("< M", "< M - $k")),), {"k": FEW}, expect=TAIL),
            Site("ex_03", ((STORE3, STORE3.replace("< M", "< M - $k")),), {"k": FEW}, expect=TAIL),
            Site("ex_03", ((STORE3, STORE3.replace("< N", "< N - $k")),), {"k": FEW}, expect=TAIL),
            Site("ex_04", (("mask = cols < n_cols", "mask = cols <= n_cols"),)),
            Site("ex_04", (("mask = cols < n_cols", "mask = cols < n_cols - $k"),), {"k": FEW}, expect=TAIL),
            # Here the last values are 0, and the others' sum lacks them.
            Site("ex_04", ((X4, X4.replace("=mask", "=cols < n_cols - $k")),), {"k": FEW}, expect=DROPPED),
        ),
    ),
    # Sums of float16 beyond 65504 are infinite before they are inexact: either shows that the dtype was too small.
    "sums kept in half": (
        _all(WRONG, "precision"),
        (
            Site("ex_02", (("tl.sum(x.to(tl.float32)", "tl.sum(x"),), expect=_all(WRONG, "precision", "overflow")),
            Site("ex_02", (("tl.sum(x.to(tl.float32)", "tl.sum(x.to(tl.float16)"),)),
            Site(
                "ex_02",
                (("torch.empty(n_partials, dtype=torch.float32", "torch.empty(n_partials, dtype=x.dtype"),),
                expect=_all(WRONG, "precision", "overflow"),
            ),
            Site(
                "ex_02",
                (("torch.empty(n_partials, dtype=torch.float32", "torch.empty(n_partials, dtype=torch.float16"),),
            ),
            Site("ex_02", (("tl.sum(sums, axis=0)", "tl.sum(sums.to(tl.$t), axis=0)"),), {"t": ("float16",)}),
            Site("ex_03", ((DOT3, DOT3 + ".to(tl.$t).to(tl.float32)"),), {"t": HALF}),
            Site("ex_03", ((DOT3, 'accumulator += tl.dot(a, b, input_precision="ieee").to(tl.$t)'),), {"t": HALF}),
        ),
    ),
    "values rounded to half": (
        _all(WRONG, "precision"),
        (
            Site("ex_01", ((", x + y,", ", x.to(tl.$t).to(tl.float32) + y,"),), {"t": HALF}),
            Site("ex_01", ((", x + y,", ", (x + y).to(tl.$t),"),), {"t": HALF}),
            Site("ex_01", ((", x + y,", ", x.to(tl.$t) + y.to(tl.$t),"),), {"t": ("float16",)}),
            Site("ex_02", (("tl.sum(x.to(tl.float32)", "tl.sum(x.to(tl.$t).to(tl.float32)"),), {"t": HALF}),
            Site("ex_03", (("tl.dot(a, b,", "tl.dot(a.to(tl.float16), b.to(tl.float16),"),)),
            Site(
                "ex_03", (("tl.store(out_ptrs, accumulator", "tl.store(out_ptrs, accumulator.to(tl.$t)"),), {"t": HALF}
            ),
            Site("ex_04", ((EXP4, EXP4 + ".to(tl.$t).to(tl.float32)"),), {"t": HALF}),
            Site("ex_04", ((STORE4, STORE4.replace("numerator *", "numerator.to(tl.$t) *")),), {"t": HALF}),
            Site(
                "ex_04",
                (
                    (
                        'mask=mask, other=-float("inf")).to(tl.float32)',
                        'mask=mask, other=-float("inf")).to(tl.$t).to(tl.float32)',
                    ),
                ),
                {"t": HALF},
            ),
            # A rounded normaliser is a factor for each row, next to 1.
            Site(
                "ex_04",
                (("1.0 / tl.sum(numerator, axis=0)", "(1.0 / tl.sum(numerator, axis=0)).to(tl.$t).to(tl.float32)"),),
                {"t": HALF},
                expect=_all(WRONG, "precision", "scaled"),
            ),
        ),
    ),
    # Rows of 10⁴ overflow, rows of −10⁴ are 0 divided by 0.
    "maximum not subtracted": (
        _all(WRONG, "overflow"),
        (
            Site("ex_04", ((EXP4, "tl.exp(x)"),)),
            Site("ex_04", ((EXP4, "tl.exp2(x * 1.4426950408889634)"),)),
            Site("ex_04", ((EXP4, "tl.exp(x - $c)"),), {"c": range(1, 21)}),
            Site(
                "ex_04",
                ((EXP4, "tl.exp(x - $c * tl.max(x, axis=0))"),),
                {"c": (*(percent / 100 for percent in range(5, 100, 5)),)},
            ),
            Site("ex_04", ((EXP4, "tl.exp(tl.minimum(x, $c))"),), {"c": range(20, 81, 10)}),
            Site("ex_04", ((EXP4, "tl.exp(x - tl.maximum(tl.max(x, axis=0), 0.0))"),)),
        ),
    ),
    "reduced along the wrong axis": (
        _all(WRONG, "wrong_axis"),
        (
            Site(
                "ex_04",
                (
                    *_ROWS_FORM,
                    ("tl.max(x, axis=0)", "tl.max(x, axis=0)[None, :]"),
                    ("tl.sum(numerator, axis=0)", "tl.sum(numerator, axis=0)[None, :]"),
                ),
                {"r": (4, 8, 16, 32)},
            ),
            # One maximum for all rows of the program is as good as each column's own.
            Site(
                "ex_04",
                (
                    *_ROWS_FORM,
                    ("tl.max(x, axis=0)", "tl.max(tl.max(x, axis=0), axis=0)"),
                    ("tl.sum(numerator, axis=0)", "tl.sum(numerator, axis=0)[None, :]"),
                ),
                {"r": (4, 8, 16, 32)},
            ),
        ),
    ),
    "scaled by a constant": (
        _all(WRONG, "scaled"),
        (
            Site("ex_01", ((", x + y,", ", (x + y) * $c,"),), {"c": FACTORS}),
            Site("ex_03", (("tl.store(out_ptrs, accumulator", "tl.store(out_ptrs, accumulator * $c"),), {"c": FACTORS}),
            Site("ex_03", (("tl.dot(a, b,", "tl.dot((a * $c).to(a.dtype), b,"),), {"c": (0.5, 2.0, 4.0, 1.5, -3.0)}),
            Site("ex_04", (("numerator * inverse", "numerator * inverse * $c"),), {"c": FACTORS}),
            Site("ex_04", (("1.0 / tl.sum(numerator, axis=0)", "$c / tl.sum(numerator, axis=0)"),), {"c": FACTORS}),
            Site("ex_04", (("numerator * inverse", "numerator"),)),
            Site("ex_04", (("1.0 / tl.sum(numerator, axis=0)", "1.0 / (tl.sum(numerator, axis=0) / n_cols)"),)),
        ),
    ),
    "off by a constant": (
        _all(WRONG, "offset"),
        (
            Site("ex_01", ((", x + y,", ", x + y + $c,"),), {"c": AMOUNTS}),
            Site(
                "ex_03",
                (("tl.zeros((BLOCK_M, BLOCK_N), dtype", "tl.full((BLOCK_M, BLOCK_N), $c, dtype"),),
                {"c": AMOUNTS},
            ),
            Site("ex_04", (("numerator * inverse", "numerator * inverse + $c"),), {"c": AMOUNTS}),
        ),
    ),
    "sign flipped": (
        _all(WRONG, "sign"),
        (
            Site("ex_01", ((", x + y,", ", -x - y,"),)),
            Site("ex_01", ((", x + y,", ", x - y,"),)),
            Site("ex_01", ((", x + y,", ", y - x,"),)),
            Site("ex_02", (("tl.sum(sums, axis=0)", "-tl.sum(sums, axis=0)"),)),
            Site("ex_02", (("sums += tl.load", "sums -= tl.load"),)),
            Site("ex_02", (("tl.sum(x.to", "tl.sum(-x.to"),)),
            Site("ex_03", (("tl.store(out_ptrs, accumulator", "tl.store(out_ptrs, -accumulator"),)),
            Site("ex_03", ((DOT3, 'accumulator -= tl.dot(a, b, input_precision="ieee")'),)),
            Site("ex_03", (("tl.dot(a, b,", "tl.dot(-a, b,"),)),
            Site("ex_04", ((EXP4, "tl.exp(tl.max(x, axis=0) - x)"),)),
            Site("ex_04", (("numerator * inverse", "-numerator * inverse"),)),
        ),
    ),
    # Whatever the values come to, several programs decide it.
    "two programs write one place": (
        _all("RACE", "race"),
        (
            Site("ex_01", ((STORE1, STORE1.replace("offsets,", "offsets % BLOCK_SIZE,")),)),
            Site("ex_02", (("partials_ptr + program_id,", "partials_ptr + program_id // $k,"),), {"k": (2, 3, 4)}),
            Site("ex_02", (("partials_ptr + program_id,", "partials_ptr + program_id % $k,"),), {"k": (1, 2)}),
            Site(
                "ex_02",
                (
                    (PARTIAL2, "tl.store(partials_ptr, tl.load(partials_ptr) + tl.sum(x.to(tl.float32), axis=0))"),
                    ("torch.empty(n_partials, dtype", "torch.zeros(1, dtype"),
                    (LAUNCH2, LAUNCH2.replace("n_partials", "1")),
                ),
            ),
            Site("ex_03", ((OUT_PTRS3, OUT_PTRS3.replace("rows[:, None]", "(rows[:, None] % BLOCK_M)")),)),
            Site("ex_03", ((OUT_PTRS3, OUT_PTRS3.replace("cols[None, :]", "cols[None, :] % BLOCK_N")),)),
            Site("ex_04", ((STORE4, STORE4.replace("row *", "row // $k *")),), {"k": (2, 3, 5, 8)}),
            Site("ex_04", ((STORE4, STORE4.replace("row *", "row % $k *")),), {"k": (1, 2, 3, 5, 8)}),
        ),
    ),
    "an input written": (
        _all("MUTATED_INPUT"),
        (
            Site("ex_01", ((STORE1, STORE1.replace("out_ptr", "$p")),), {"p": ("x_ptr", "y_ptr")}),
            Site(
                "ex_01",
                ((STORE1, f"{STORE1}; tl.store($p + offsets, x * $c, mask=mask)"),),
                {"p": ("x_ptr", "y_ptr"), "c": (0.0, 2.0, -1.0)},
            ),
            Site(
                "ex_02",
                ((X2, f"{X2}; tl.store(x_ptr + offsets, x * $c, mask=offsets < n_elements)"),),
                {"c": (0.0, 2.0, -1.0)},
            ),
            Site("ex_04", ((STORE4, f"{STORE4}; tl.store({X_PTRS4}, $v, mask=mask)"),), {"v": ("numerator", "x * 2")}),
            Site("ex_04", ((STORE4, STORE4.replace("out_", "x_")),)),
        ),
    ),
    "an input returned": (
        _all("ALIASED_INPUT"),
        (
            Site("ex_01", (("return out", "return $r"),), {"r": ("x", "y", "x[:]", "x.detach()", "y.view_as(x)")}),
            Site("ex_01", (("out = torch.empty_like(x)", "out = $r"),), {"r": ("x", "y", "x[:]", "y.detach()")}),
            Site("ex_04", (("return out", "return $r"),), {"r": ("x", "x[:]", "x.detach()", "x.view_as(x)")}),
            Site("ex_04", ((OUT4, "out = $r"),), {"r": ("x", "x[:]", "x.detach()")}),
        ),
    ),
    "an input copied": (
        _all(WRONG, "identity"),
        (
            Site("ex_01", (("return out", "return $r.clone()"),), {"r": ("x", "y")}),
            Site("ex_01", ((", x + y,", ", $r,"),), {"r": ("x", "y", "x * 1.0", "x + y * 0.0", "x * 0.0 + y")}),
            Site("ex_04", (("return out", "return $r"),), {"r": ("x.clone()", "x.contiguous().clone()")}),
            Site("ex_04", (("numerator * inverse", "$r"),), {"r": ("x", "x * 1.0", "tl.maximum(x, x)")}),
        ),
    ),
    # Too large, it leaves the smaller tensors; as an upper bound, it leaves out the end of larger ones.
    "a size fixed": (
        TAIL,
        (
            Site("ex_01", (("out, n_elements,", "out, $n,"),), {"n": range(64, 4097, 64)}, expect=OUTSIDE),
            Site("ex_01", (("out, n_elements,", "out, min(n_elements, $n),"),), {"n": range(64, 4097, 64)}),
            Site("ex_01", (("(triton.cdiv(n_elements, block_size),)", "($g,)"),), {"g": (1, 2)}),
            Site("ex_02", (("partials, n_elements,", "partials, $n,"),), {"n": range(64, 8193, 64)}, expect=OUTSIDE),
            Site(
                "ex_02",
                (("partials, n_elements,", "partials, min(n_elements, $n),"),),
                {"n": (256, 512, 1024, 4096, 16384)},
                expect=DROPPED,
            ),
            Site("ex_02", (("out, n_partials,", "out, $n,"),), {"n": (1, 2, 16, 100)}, expect=OUTSIDE),
            Site("ex_02", (("out, n_partials,", "out, min(n_partials, $n),"),), {"n": (1,)}, expect=DROPPED),
            Site("ex_03", ((LOOP3, "range(0, min(K, $n), BLOCK_K)"),), {"n": (64, 128, 512, 1024)}, expect=DROPPED),
            Site("ex_03", (("b, out, M, N, K,", "b, out, M, N, $n,"),), {"n": (1000, 1024)}, expect=OUTSIDE),
            Site("ex_04", (("triton.next_power_of_2(n_cols)", "$n"),), {"n": (128, 256, 512, 1024, 2048, 4096)}),
        ),
    ),
    "last iteration skipped": (
        DROPPED,
        (
            Site("ex_02", (("range(0, n_partials, B", "range(0, n_partials - BLOCK_SIZE, B"),)),
            Site("ex_02", (("range(0, n_partials, B", "range(0, n_partials // BLOCK_SIZE * BLOCK_SIZE, B"),)),
            Site("ex_03", ((LOOP3, "range(0, K - BLOCK_K, BLOCK_K)"),)),
            Site("ex_03", ((LOOP3, "range(0, K // BLOCK_K * BLOCK_K, BLOCK_K)"),)),
            Site("ex_03", ((LOOP3, "range(0, K - $k, BLOCK_K)"),), {"k": (1, 2, 3, 8)}),
        ),
    ),
    # b's rows past K are no elements of b, and a's last row ends where a does.
    "k not masked": (
        OUTSIDE,
        (
            Site("ex_03", ((A3, A3.replace(" & has_k[None, :]", "")),), names_line=True),
            Site("ex_03", ((B3, B3.replace("has_k[:, None] & ", "")),), names_line=True),
            Site("ex_03", ((A3, A3.replace(" & has_k[None, :]", "")), (B3, B3.replace("has_k[:, None] & ", "")))),
            Site("ex_03", (("ks < K - k_start", "ks < K"),)),
            Site("ex_03", (("ks < K - k_start", "ks < BLOCK_K"),)),
        ),
    ),
    # Fresh memory holds poison here, and it comes through every sum.
    "memory read before it is written": (
        UNWRITTEN,
        (
            Site("ex_01", ((", x + y,", ", x + y + tl.load(out_ptr + offsets, mask=mask),"),)),
            Site("ex_02", ((STORE2, "tl.store(out_ptr, tl.load(out_ptr) + tl.sum(sums, axis=0))"),)),
            Site("ex_02", ((PARTIAL2, PARTIAL2.replace("tl.store", "tl.atomic_add")),)),
            Site(
                "ex_02",
                (
                    ("torch.empty(n_partials,", "torch.empty(n_partials + $k,"),
                    (LAUNCH2, LAUNCH2.replace("n_partials", "n_partials + $k")),
                ),
                {"k": FEW},
            ),
            Site(
                "ex_03",
                (
                    (
                        STORE3,
                        STORE3.replace("accumulator", f"accumulator + {READ3}"),
                    ),
                ),
            ),
            Site(
                "ex_04",
                (
                    (
                        "numerator * inverse",
                        "numerator * inverse + tl.load(out_ptr + row * out_row_stride + cols, mask=mask)",
                    ),
                ),
            ),
        ),
    ),
    "another dtype returned": (
        _all("WRONG_DTYPE"),
        tuple(
            Site(exercise, ((old, new),), {"t": ("float32", "float16", "bfloat16", "float64")})
            for exercise, old, new in (
                ("ex_01", "torch.empty_like(x)", "torch.empty_like(x, dtype=torch.$t)"),
                ("ex_02", "torch.empty((), dtype=x.dtype", "torch.empty((), dtype=torch.$t"),
                ("ex_03", "torch.empty((M, N), dtype=a.dtype", "torch.empty((M, N), dtype=torch.$t"),
                ("ex_04", "(n_rows, n_cols), dtype=x.dtype", "(n_rows, n_cols), dtype=torch.$t"),
            )
        ),
    ),
    "memory passed over twice": (
        EXTRA,
        (
            Site("ex_01", ((X1, f"{X1}; x = {X1}"),)),
            Site("ex_01", ((Y1, f"{Y1}; y = (y + {Y1}) * 0.5"),)),
            Site("ex_01", ((STORE1, f"{STORE1}; {STORE1}"),)),
            Site("ex_01", ((LAUNCH1, f"for _ in range($k): {LAUNCH1}"),), {"k": (2, 3)}),
            Site("ex_01", ((LAUNCH1, f"{LAUNCH1}; {LAUNCH1.replace('out, n_elements', 'out, 0')}"),), expect=LAUNCHES),
            Site("ex_01", (("torch.empty_like(x)", "torch.zeros_like(x)"),)),
            Site("ex_01", (("out = torch.empty_like(x)", "$v = $v.clone(); out = torch.empty_like(x)"),), {"v": "xy"}),
            Site("ex_02", ((X2, f"{X2}; x = {X2}"),)),
            Site("ex_02", ((LAUNCH2, f"{LAUNCH2}; {LAUNCH2}"),), expect=LAUNCHES),
            Site("ex_02", (("n_elements = x.numel()", "n_elements = x.numel(); x = x.clone()"),)),
            Site("ex_03", (("else (64, 64, 32)", "else ($m, $n, 32)"),), {"m": (16, 32), "n": (32, 64)}, is_fixed=True),
            Site("ex_03", (("a = tl.load(a_ptrs)\n", "a = tl.load(a_ptrs); a = tl.load(a_ptrs)\n"),), is_fixed=True),
            Site("ex_03", ((STORE3, f"{STORE3}; {STORE3}"),), is_fixed=True),
            Site("ex_04", ((STORE4, f"{STORE4}; {STORE4}"),)),
            Site("ex_04", ((EXP4, EXP4.replace("max(x,", f"max({X4}.to(tl.float32),")),)),
            Site("ex_04", ((OUT4, OUT4.replace("empty", "zeros")),)),
            Site("ex_04", ((OUT4, f"{OUT4}; x = x.clone()"),)),
        ),
    ),
    "a library called": (
        _all("BANNED_CALL", "banned"),
        (
            Site(
                "ex_01",
                (("return out", "return $r"),),
                {"r": ("x + y", "torch.add(x, y)", "x.add(y)", "out.copy_(x + y)")},
            ),
            Site(
                "ex_01",
                (("out = torch.empty_like(x)", "out = torch.empty_like(x); x, y = x + y, torch.zeros_like(y)"),),
            ),
            Site(
                "ex_02",
                (("return out", "return $r"),),
                {"r": ("x.sum()", "torch.sum(x.float()).to(x.dtype)", "partials.sum().to(x.dtype)")},
            ),
            Site(
                "ex_02",
                (("n_elements = x.numel()", "x = x.float(); n_elements = x.numel()"),),
                expect={"BANNED_CALL": frozenset({"banned"}), "WRONG_DTYPE": frozenset({""})},
            ),
            Site(
                "ex_03",
                (("    return out\n    # END", "    return $r\n    # END"),),
                {
                    "r": (
                        "a @ b",
                        "torch.matmul(a, b)",
                        "a.mm(b)",
                        "torch.einsum('mk,kn->mn', a, b)",
                        "torch.nn.functional.linear(a, b.t())",
                    )
                },
            ),
            Site(
                "ex_04",
                (("return out", "return $r"),),
                {
                    "r": (
                        "torch.softmax(x, 1)",
                        "x.softmax(-1)",
                        "torch.nn.functional.softmax(x, dim=1)",
                        "out.copy_(x.exp() / x.exp().sum(1, keepdim=True))",
                    )
                },
            ),
            Site("ex_04", ((OUT4, f"{OUT4}; x = x - x.amax(1, keepdim=True)"),)),
        ),
    ),
    # The first or last lane of each block: places at multiples of the block, which a halo or a bound has forgotten.
    "a block's edge forgotten": (
        _all(WRONG, "tile_edge"),
        (
            # What the mask leaves out is needed: nobody knows what is there.
            Site(
                "ex_01",
                ((X1, "tl.load(x_ptr + offsets, mask=mask & (offsets > start))"),),
                expect=_all(WRONG, "uninitialised"),
                names_line=True,
            ),
            Site(
                "ex_01",
                ((Y1, "tl.load(y_ptr + offsets, mask=mask & (offsets < start + BLOCK_SIZE - 1))"),),
                expect=_all(WRONG, "uninitialised"),
                names_line=True,
            ),
            Site(
                "ex_01",
                ((", x + y,", ", tl.where(offsets == start$end, x + $c, x + y),"),),
                {"end": ("", " + BLOCK_SIZE - 1"), "c": AMOUNTS},
            ),
            Site(
                "ex_03",
                (
                    (
                        STORE3,
                        STORE3.replace(
                            "accumulator,", "accumulator + tl.where(rows % BLOCK_M == 0, $c, 0.0)[:, None],"
                        ),
                    ),
                ),
                {"c": AMOUNTS},
            ),
            Site(
                "ex_03",
                (
                    (
                        B3,
                        B3.replace("(cols[None, :] < N)", "(cols[None, :] < N) & (cols[None, :] > tile_col * BLOCK_N)"),
                    ),
                ),
            ),
            Site(
                "ex_01",
                ((STORE1, STORE1.replace("mask=mask", "mask=mask & (offsets > start)")),),
                expect=UNWRITTEN,
            ),
            Site(
                "ex_03",
                (
                    (
                        A3,
                        A3.replace("(rows[:, None] < M)", "(rows[:, None] < M) & (rows[:, None] > tile_row * BLOCK_M)"),
                    ),
                ),
            ),
        ),
    ),
}
