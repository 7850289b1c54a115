"""From the pattern of wrong elements to the likely cause: natural mistakes get their name, garbage gets none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from gpuprep.grader import Draw, ErrorModel, Expected
from gpuprep.grading.diagnosis import Evidence, Recompute, diagnose
from gpuprep.grading.judge import judge

NAN = float("nan")
SEEDS = range(5)
VECTORS = (33, 1025, 4379)
MATRICES = ((33, 65), (64, 64), (5, 1025), (129, 7))


def named(
    value: torch.Tensor,
    got: torch.Tensor,
    args: Sequence[object] = (),
    *,
    scale: torch.Tensor | None = None,
    n_terms: int = 0,
    recompute: Recompute | None = None,
) -> str:
    """The id of the diagnosis of `got`, a result in its own dtype, where `value` was right."""
    expected = Expected(value.double(), str(got.dtype).removeprefix("torch."), scale=scale)
    judgement = judge(expected, got, ErrorModel(roundings=4))
    assert not judgement.is_right
    return diagnose(Evidence(expected, got, judgement.wrong, args, n_terms, recompute)).id


def drawn(*shape: int, seed: int = 0, distribution: str = "normal", dtype: str = "float32") -> torch.Tensor:
    return Draw(seed).tensor(*shape, distribution=distribution, dtype=dtype).clone()


def filled(value: torch.Tensor, start: int, filling: float, axis: int = -1) -> torch.Tensor:
    """A copy whose lines from `start` on hold something else."""
    got = value.clone()
    got.narrow(axis, start, got.shape[axis] - start).fill_(filling)
    return got


def every(value: torch.Tensor, step: int, axis: int = -1, first: int = 0) -> torch.Tensor:
    """A copy in which every `step`th line is off."""
    got = value.clone()
    got[
        tuple(slice(first, None, step) if place == axis % value.dim() else slice(None) for place in range(value.dim()))
    ] += 5
    return got


# The end of an axis


@pytest.mark.parametrize("filling", [NAN, 0.0, 7.5], ids=["unwritten", "zeros", "else"])
@pytest.mark.parametrize(("n", "block"), [(33, 32), (1025, 1024), (1023, 512), (4379, 1024), (3, 2)])
@pytest.mark.parametrize("seed", SEEDS)
def test_last_partial_block_dropped(n: int, block: int, filling: float, seed: int) -> None:
    """Whatever is in the elements after the last whole block, even if it is one, the mask is to blame."""
    value = drawn(n, seed=seed)
    assert named(value, filled(value, n - n % block, filling)) == "tail"


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("filling", [NAN, 0.0])
@pytest.mark.parametrize("shape", MATRICES)
def test_last_rows_or_columns_dropped(shape: tuple[int, int], filling: float, axis: int) -> None:
    """The same along either axis of a matrix."""
    value = drawn(*shape)
    assert named(value, filled(value, shape[axis] - 1, filling, axis)) == "tail"


def test_rest_of_the_row_wrong_too() -> None:
    """A row's end that was never written is the cause, also where it makes the rest of the row wrong."""
    value = drawn(3, 1025).softmax(1)
    got = filled(value, 1024, NAN) * 1.1
    assert named(value, got, [drawn(3, 1025)]) == "tail"


def test_more_than_half_missing() -> None:
    """A grid that is fixed to a few programs leaves out most of a long vector."""
    value = drawn(20_000)
    assert named(value, filled(value, 8192, NAN)) == "tail"


@pytest.mark.parametrize("shape", [(3,), (1025,), (3, 33), (33, 65)])
def test_only_the_first_line_right(shape: tuple[int, ...]) -> None:
    """Where all lines but the first are wrong, what their number is multiplied by is to blame, and no last block."""
    value = drawn(*shape)
    got = drawn(*shape, seed=1)
    got[0] = value[0]
    assert named(value, got) == "stride"


# Never written


@pytest.mark.parametrize("shape", [(1,), (1025,), (3, 5), ()])
def test_nothing_written(shape: tuple[int, ...]) -> None:
    """All poison: the kernel did not run or does not store."""
    value = drawn(*shape)
    assert named(value, torch.full_like(value, NAN), [value.clone()]) == "never_written"


def test_nothing_written_with_large_inputs() -> None:
    """Large inputs in some rows don't make an overflow of rows that have none."""
    x = drawn(6, 33)
    x[0] *= 1e4
    assert named(x.softmax(1), torch.full_like(x, NAN), [x]) == "never_written"


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.int64])
def test_integers_never_written(dtype: torch.dtype) -> None:
    """Fresh integers hold their largest value: all of it, the end of it, and blocks of it are told like NaN."""
    value = torch.arange(1000) % 100
    poison = torch.iinfo(dtype).max
    skipped = value.to(dtype, copy=True)
    skipped[256:512] = poison
    assert named(value, torch.full((1000,), poison, dtype=dtype)) == "never_written"
    assert named(value, skipped) == "never_written"
    assert named(value, filled(value.to(dtype), 768, poison)) == "tail"


def test_largest_integer_where_it_belongs() -> None:
    """Where an integer's largest value is right, it is no poison."""
    value = torch.tensor([127, 3, 127, 5])
    got = torch.tensor([127, 4, 127, 6], dtype=torch.int8)
    assert named(value, got) != "never_written"


@pytest.mark.parametrize("wrong", [[True, True], [False, True]])
def test_truth_values_have_no_poison(wrong: list[bool]) -> None:
    """True is as good a value as any."""
    value = torch.tensor([False, False])
    assert named(value, torch.tensor(wrong)) != "never_written"


@pytest.mark.parametrize("n", VECTORS[1:])
def test_some_blocks_skipped(n: int) -> None:
    """Poison in the middle: programs leave out part of their block."""
    got = drawn(n)
    got[256:512] = NAN
    assert named(drawn(n), got) == "never_written"


@pytest.mark.parametrize("n_rows", [1, 8])
def test_nan_that_came_in(n_rows: int) -> None:
    """A weight of 0 doesn't hide NaN: told apart from memory that nobody wrote."""
    weights, values = drawn(8, 33).abs(), drawn(33, 5)
    weights[:, :3] = 0
    value = weights @ values
    values[:3] = NAN
    got = value.clone()
    got[:n_rows] = NAN
    assert named(value, got, [weights, values]) == "spread_nan"
    assert named(value, -value, [weights, values]) == "sign"


# Integers


def test_integers_that_were_cut_off() -> None:
    """Off by one wherever rounding went up, and right elsewhere; two off is something else."""
    exact = 5 * drawn(64, 32)
    value, cut = exact.round().to(torch.int8), exact.trunc().to(torch.int8)
    assert named(value, cut) == "rounding"
    assert named(value, value + 2 * (value != cut)) != "rounding"


def test_the_largest_int8_is_a_value() -> None:
    """127 is where quantized values end: only where nothing else is there was memory never written."""
    value = torch.randint(-127, 128, (64, 32), dtype=torch.int8)
    got = value.clone()
    got[value > 100] = 127
    assert named(value, got) != "never_written"
    got[3:9] = 127
    assert named(value, got) == "never_written"


# Whole results


@pytest.mark.parametrize("shape", [(3,), (1025,), (5, 33)])
@pytest.mark.parametrize("what", [0.0, 1.0, -2.5])
def test_constant(shape: tuple[int, ...], what: float) -> None:
    """One number everywhere doesn't depend on the inputs."""
    assert named(drawn(*shape), torch.full(shape, what)) == "constant"


@pytest.mark.parametrize("shape", [(3,), (1025,), (5, 33)])
def test_identity(shape: tuple[int, ...]) -> None:
    """An input that comes back unchanged is recognised, whichever it is."""
    x, y = drawn(*shape, seed=1), drawn(*shape, seed=2)
    assert named(x + y, y.clone(), [x, y]) == "identity"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("distribution", ["normal", "offset", "heavy"])
@pytest.mark.parametrize("shape", [(3,), (33,), (1025,), (33, 65)])
def test_lower_precision(shape: tuple[int, ...], distribution: str, seed: int) -> None:
    """float16 inside float32 is a matter of precision, also where terms cancel and next to nothing is left of them."""
    x, y = (drawn(*shape, seed=seed + place, distribution=distribution) for place in (100, 200))
    assert named(x + y, (x.half() + y.half()).float(), [x, y]) == "precision"


@pytest.mark.parametrize("seed", SEEDS)
def test_lower_precision_of_a_cancelling_sum(seed: int) -> None:
    """What a sum's terms lose is held against the terms, not against what is left of them."""
    x = drawn(4097, seed=seed)
    x = torch.cat([x, -x + 1e-3])
    got = x.half().float().sum()
    scale = x.double().abs().sum()
    assert named(x.double().sum(), got, [x], scale=scale) == "precision"


@pytest.mark.parametrize("axis", [0, 1])
def test_one_line_a_little_off_is_no_precision(axis: int) -> None:
    """Rounding errors don't keep to a row or a column."""
    value, scale = drawn(11, 13), torch.full((11, 13), 1000.0)
    got = value.clone()
    got.narrow(axis, 0, 1).add_(5.0)
    assert named(value, got, scale=scale) == "wrong_values"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shape", [(2,), (33,), (1025,), (33, 65)])
@pytest.mark.parametrize("distribution", ["normal", "offset", "wide", "heavy"])
def test_sign_and_scale(shape: tuple[int, ...], distribution: str, seed: int) -> None:
    """The opposite sign and a constant factor are recognised on any distribution."""
    value = drawn(*shape, seed=seed, distribution=distribution)
    assert named(value, -value) == "sign"
    for factor in (2.0, 0.5, 1.442695, -3.0):
        assert named(value, factor * value) == "scaled"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("distribution", ["normal", "offset", "wide", "heavy"])
def test_sign_of_one_argument(distribution: str, seed: int) -> None:
    """A difference in place of a sum is the sum with an argument of the opposite sign, and the text says which."""
    x, y = (drawn(1025, seed=seed + place, distribution=distribution) for place in (100, 200))

    def recompute(args: Sequence[torch.Tensor], order: torch.Tensor | None = None) -> torch.Tensor:
        return args[0].double() + args[1].double()

    value = x.double() + y.double()
    for got, place in ((x - y, 2), (y - x, 1)):
        expected = Expected(value, "float32")
        wrong = judge(expected, got, ErrorModel(4)).wrong
        found = diagnose(Evidence(expected, got, wrong, [x, y], recompute=recompute))
        assert found.id == "sign"
        assert f"argument {place} " in found.text


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("distribution", ["normal", "offset", "heavy"])
@pytest.mark.parametrize("amount", [1.0, -0.1, 7.0])
@pytest.mark.parametrize("shape", [(33,), (1025,), (33, 65)])
def test_offset(shape: tuple[int, ...], amount: float, distribution: str, seed: int) -> None:
    """The same amount on top of every element, though a factor explains it nearly as well where all are alike."""
    value = drawn(*shape, seed=seed, distribution=distribution)
    assert named(value, (value.double() + amount).float()) == "offset"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shape", [(3, 33), (2, 5, 65)])
def test_one_row_on_top_of_every_row(shape: tuple[int, ...], seed: int) -> None:
    """A bias that came in twice; of some columns only, it is a matter of columns."""
    value, bias = drawn(*shape, seed=seed), drawn(shape[-1], seed=seed + 100)
    assert named(value, value + bias) == "offset"
    assert named(value, value + bias * (torch.arange(shape[-1]) % 2)) != "offset"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_ranks_own_part_of_a_sum(seed: int) -> None:
    """What no other rank's part was added to; where the others have nothing to add, it is no mistake."""
    parts = drawn(4, 7, 33, seed=seed)
    expected, got = Expected(parts.double().sum(0), "float32"), parts[2]
    wrong = judge(expected, got, ErrorModel(4)).wrong
    assert diagnose(Evidence(expected, got, wrong, (), own_part=parts[2])).id == "own_part"
    assert diagnose(Evidence(expected, got, wrong, (), own_part=parts[1])).id != "own_part"
    assert diagnose(Evidence(expected, got, wrong, (), own_part=expected.value)).id != "own_part"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_offset_in_lower_dtypes(dtype: str) -> None:
    """The result's own rounding doesn't hide it."""
    value = drawn(33, 65, dtype=dtype)
    assert named(value, (value.double() + 1.5).to(value.dtype)) == "offset"


def test_uniform_values_tell_neither_factor_nor_offset() -> None:
    """Where all values are the same, a factor and an offset are one."""
    value = torch.ones(3, 1)
    assert named(value, value + 0.5) == "wrong_values"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_scale_in_lower_dtypes(dtype: str) -> None:
    """The result's own rounding doesn't hide a factor."""
    value = drawn(33, 65, dtype=dtype)
    assert named(value, (value.double() * 1.7).to(value.dtype)) == "scaled"


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_not_normalised(seed: int) -> None:
    """A softmax without its division is off by a factor of its own in every row."""
    x = drawn(7, 129, seed=seed)
    assert named(x.softmax(1), (x - x.amax(1, keepdim=True)).exp(), [x]) == "scaled"


@pytest.mark.parametrize("seed", SEEDS)
def test_normaliser_a_little_off(seed: int) -> None:
    """Zeros past the row's end that enter a softmax's sum are a factor for each row, not a matter of precision."""
    x = drawn(3, 31, seed=seed)
    got = torch.cat([x, torch.zeros(3, 1)], 1).softmax(1)[:, :31]
    assert named(x.softmax(1), got, [x]) == "scaled"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [2, 33, 64])
def test_transposed(n: int, seed: int) -> None:
    """Rows and columns of a square result swapped."""
    value = drawn(n, n, seed=seed)
    assert named(value, value.t().contiguous()) == "transposed"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize(("shape", "axis"), [((33,), 0), ((1025,), 0), ((33, 65), 1), ((33, 65), 0), ((129, 7), 0)])
def test_shifted(shape: tuple[int, ...], axis: int, step: int, seed: int) -> None:
    """Off by one along either axis, whatever comes in at the end."""
    value = drawn(*shape, seed=seed)
    assert named(value, value.roll(step, axis)) == "shifted"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step", [2, 7, 16, -3, -13])
@pytest.mark.parametrize(("shape", "axis"), [((1025,), 0), ((33, 65), 1), ((33, 65), 0), ((129, 40), 0)])
def test_shifted_by_several(shape: tuple[int, ...], axis: int, step: int, seed: int) -> None:
    """Off by several places, and the text says by how many and which way."""
    value = drawn(*shape, seed=seed)
    got = value.roll(step, axis)
    expected = Expected(value.double(), "float32")
    found = diagnose(Evidence(expected, got, judge(expected, got, ErrorModel(4)).wrong, ()))
    assert found.id == "shifted"
    assert f"{abs(step)} " in found.text
    assert ("after" if step > 0 else "before") in found.text


@pytest.mark.parametrize("step", [1, 5, -9])
def test_shifted_among_repeated_values(step: int) -> None:
    """In many float16 numbers each value occurs often: a place is recognised by its neighbours too."""
    value = drawn(2**15, dtype="float16")
    assert named(value, value.roll(step)) == "shifted"


# Lines


@pytest.mark.parametrize("step", [2, 3, 7])
@pytest.mark.parametrize("shape", [(33,), (1025,), (33, 65), (64, 64)])
def test_every_kth_line(shape: tuple[int, ...], step: int) -> None:
    """Every k-th element, row or column wrong: a stride."""
    value = drawn(*shape)
    for axis in range(len(shape)):
        for first in (0, 1):
            assert named(value, every(value, step, axis, first)) == "stride"


def test_only_every_kth_row_right() -> None:
    """The rest wrong is the same mistake."""
    value = drawn(33, 65)
    got = drawn(33, 65, seed=1)
    got[::4] = value[::4]
    assert named(value, got) == "stride"


def test_rows_of_a_view_taken_as_dense() -> None:
    """Where rows are padded and all but the first are wrong, the stride is, not the end of a block."""
    x = Draw(0).tensor(5, 33, layout="padded")
    got = torch.as_strided(x, (5, 33), (33, 1)) * 2
    assert named(x * 2, got, [x]) == "stride"


@pytest.mark.parametrize("tile", [16, 32, 64])
def test_tile_edges(tile: int) -> None:
    """Wrong at the edges of tiles alone: a halo or a boundary."""
    value = drawn(4 * tile, 3 * tile + 5)
    got = value.clone()
    got[tile - 1 :: tile] += 1
    got[::tile] += 1
    assert named(value, got) == "tile_edge"
    assert named(value.t(), got.t()) == "tile_edge"


@pytest.mark.parametrize("row", [0, 3, 16, 31])
def test_one_row_is_no_pattern_but_its_place(row: int) -> None:
    """One row wrong is one program's fault: neither a tile's edge nor a stride, and the text names the row."""
    value = drawn(33, 65)
    got = value.clone()
    got[row] += drawn(65, seed=1)
    expected = Expected(value.double(), "float32")
    found = diagnose(Evidence(expected, got, judge(expected, got, ErrorModel(4)).wrong, ()))
    assert found.id == "wrong_values"
    assert f"row {row} " in found.text


def test_block_of_one_program() -> None:
    """The same for a block of a vector."""
    value = drawn(4379)
    got = value.clone()
    got[1024:2048] += 1
    expected = Expected(value.double(), "float32")
    found = diagnose(Evidence(expected, got, judge(expected, got, ErrorModel(4)).wrong, ()))
    assert found.id == "wrong_values"
    assert "1024 to 2047" in found.text


# NaN and infinity


def naive_softmax(x: torch.Tensor) -> torch.Tensor:
    return x.exp() / x.exp().sum(-1, keepdim=True)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_softmax_without_its_maximum(dtype: str, seed: int) -> None:
    """NaN in the rows whose values are large, and only there."""
    x = drawn(6, 129, seed=seed, dtype=dtype)
    x += 1e4 * (torch.arange(6) % 3 - 1)[:, None]
    assert named(x.double().softmax(1), naive_softmax(x), [x]) == "overflow"


def test_product_out_of_range() -> None:
    """Infinity comes of an overflow even where only some elements have it."""
    a, b = drawn(9, 33, distribution="wide"), drawn(33, 9, seed=1, distribution="wide")
    got = (a.half() @ b.half()).float()
    value = a.double() @ b.double()
    assert bool(got.isinf().any())
    assert named(value, got, [a, b], scale=a.double().abs() @ b.double().abs()) == "overflow"


@pytest.mark.parametrize("got", [NAN, float("inf")])
def test_half_sum_that_cancels(got: float) -> None:
    """Terms that come to more than float16 holds overflow it before they cancel; with fewer, NaN was never written."""
    x = drawn(20_001, dtype="float16")
    x[:10_000] += 8
    x[-10_000:] -= 8
    value, scale = x.double().sum(), x.double().abs().sum()
    assert named(value, torch.tensor(got, dtype=torch.float16), [x], scale=scale) == "overflow"
    assert named(value, torch.tensor(NAN, dtype=torch.float32), [x], scale=scale) == "never_written"


def test_single_overflow_in_a_row() -> None:
    """The one value of a row that is large makes the one NaN in it."""
    x = drawn(3, 1025)
    x[1, 500] = 150.0
    got = x.exp() / x.exp().sum(1, keepdim=True)
    assert int(got.isnan().sum()) == 1
    assert named(x.double().softmax(1), got, [x]) == "overflow"


# Other formulas: sums that end early, and the wrong axis


def sum_again(args: Sequence[torch.Tensor], order: torch.Tensor | None = None) -> torch.Tensor:
    x = args[0].double()
    return (x if order is None else x[order]).sum()


def product_again(args: Sequence[torch.Tensor], order: torch.Tensor | None = None) -> torch.Tensor:
    a, b = (arg.double() for arg in args)
    return a @ b if order is None else a[:, order] @ b[order]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("distribution", ["normal", "offset", "heavy"])
@pytest.mark.parametrize(("n", "kept"), [(1025, 1024), (20_257, 16_384), (4379, 1024), (33, 32), (1000, 999)])
def test_terms_left_out_of_a_sum(n: int, kept: int, distribution: str, seed: int) -> None:
    """Terms after the last whole block, or after the first one, are missed, however little they add."""
    x = drawn(n, seed=seed, distribution=distribution)
    got = x[:kept].sum()
    scale = x.double().abs().sum()
    assert named(x.double().sum(), got, [x], scale=scale, n_terms=n, recompute=sum_again) == "dropped_term"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("k", "kept"), [(35, 32), (1025, 1024), (47, 32)])
def test_last_step_along_k_left_out(k: int, kept: int, seed: int) -> None:
    """A matmul's loop that drops the ragged last step."""
    a, b = drawn(9, k, seed=seed), drawn(k, 13, seed=seed + 50)
    value, scale = a.double() @ b.double(), a.double().abs() @ b.double().abs()
    got = a[:, :kept] @ b[:kept]
    assert named(value, got, [a, b], scale=scale, n_terms=k, recompute=product_again) == "dropped_term"


@pytest.mark.parametrize("n", [1, 33, 1025])
def test_nothing_summed(n: int) -> None:
    """A sum over no terms at all is 0."""
    x = drawn(n)
    value, scale = x.double().sum(), x.double().abs().sum()
    assert named(value, torch.tensor(0.0), [x], scale=scale, n_terms=n, recompute=sum_again) == "dropped_term"


@pytest.mark.parametrize("seed", range(100))
def test_any_number_is_no_sum_of_fewer_terms(seed: int) -> None:
    """A single number lies near many of the sums that end early, and is one of them only if it is the same."""
    x = drawn(1025, seed=seed)
    value, scale = x.double().sum(), x.double().abs().sum()
    got = torch.tensor(float(value) + 2.0)
    assert named(value, got, [x], scale=scale, n_terms=1025, recompute=sum_again) != "dropped_term"


@pytest.mark.parametrize("seed", range(20))
def test_lower_precision_is_not_taken_for_dropped_terms(seed: int) -> None:
    """A sum that is a little off is not explained by leaving out terms."""
    x = drawn(1025, seed=seed)
    got = x.half().float().sum()
    scale = x.double().abs().sum()
    assert named(x.double().sum(), got, [x], scale=scale, n_terms=1025, recompute=sum_again) == "precision"


def softmax_again(args: Sequence[torch.Tensor], order: torch.Tensor | None = None) -> torch.Tensor:
    x = args[0].double()
    return x.softmax(1) if order is None else x[:, order].softmax(1)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("n", "kept"), [(33, 32), (1025, 1024), (1025, 1022), (4379, 1024)])
def test_row_end_not_loaded(n: int, kept: int, seed: int) -> None:
    """A softmax whose load leaves out a row's end: 0 there, and everywhere else the sum lacks it."""
    x = drawn(3, n, seed=seed)
    got = torch.cat([x[:, :kept].softmax(1), torch.zeros(3, n - kept)], 1)
    assert named(x.softmax(1), got, [x], n_terms=n, recompute=softmax_again) == "dropped_term"


@pytest.mark.parametrize("shape", [(3, 33), (33, 33), (5, 1025)])
@pytest.mark.parametrize("seed", SEEDS)
def test_softmax_over_columns(shape: tuple[int, int], seed: int) -> None:
    """The right formula along the wrong axis."""
    x = drawn(*shape, seed=seed)
    assert named(x.softmax(1), x.softmax(0), [x], n_terms=shape[1], recompute=softmax_again) == "wrong_axis"


def test_formula_that_cannot_be_tried() -> None:
    """Where nothing can be computed for other arguments, nothing is concluded from them."""
    x = drawn(9, 33)
    got = drawn(9, 33, seed=1)
    assert named(x.softmax(1), got, [x], n_terms=33, recompute=lambda args, order=None: None) == "wrong_values"


# Garbage


def scattered(value: torch.Tensor, n_wrong: int, seed: int) -> torch.Tensor:
    """A copy with a few wrong elements at random places."""
    generator = torch.Generator().manual_seed(seed)
    got = value.clone()
    places = torch.randperm(value.numel(), generator=generator)[:n_wrong]
    got.view(-1)[places] += torch.randn(n_wrong, generator=generator) + 10
    return got


GARBAGE: dict[str, Callable[[torch.Tensor, int], torch.Tensor]] = {
    "noise": lambda value, seed: torch.randn(value.shape, generator=torch.Generator().manual_seed(seed + 7000)),
    "noise on top": lambda value, seed: (
        value + torch.randn(value.shape, generator=torch.Generator().manual_seed(seed + 7000))
    ),
    "shuffled": lambda value, seed: value.flatten()[torch.randperm(value.numel())].view(value.shape),
    "a tenth wrong": lambda value, seed: scattered(value, value.numel() // 10, seed),
    "five wrong": lambda value, seed: scattered(value, 5, seed),
    "another function": lambda value, seed: value.exp(),
    "absolute": lambda value, seed: value.abs(),
}


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("shape", [(33,), (1025,), (33, 65), (64, 64), (5, 1025)])
@pytest.mark.parametrize("make", GARBAGE.values(), ids=GARBAGE)
def test_no_pattern_is_seen_in_garbage(
    make: Callable[[torch.Tensor, int], torch.Tensor], shape: tuple[int, ...], seed: int
) -> None:
    """Values that are wrong in no pattern are said to be just that."""
    torch.manual_seed(seed)
    value, args = drawn(*shape, seed=seed), [drawn(*shape, seed=seed + 500), drawn(*shape, seed=seed + 600)]
    assert named(value, make(value, seed), args) == "wrong_values"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("distribution", ["offset", "wide", "heavy"])
def test_no_pattern_is_seen_in_shuffled_odd_distributions(distribution: str, seed: int) -> None:
    """Neither values that are all nearly the same nor ones over many powers of two make a pattern of a wrong order."""
    value = drawn(33, 65, seed=seed, distribution=distribution)
    got = value.flatten()[torch.randperm(value.numel(), generator=torch.Generator().manual_seed(seed + 7000))].view(
        33, 65
    )
    assert named(value, got) == "wrong_values"


@pytest.mark.parametrize("shape", [(1,), (2,), (1, 1), (3,), (1, 4), (4, 1), ()])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("seed", SEEDS)
def test_tiny_outputs(shape: tuple[int, ...], dtype: str, seed: int) -> None:
    """Outputs too small for a pattern don't break any."""
    value = drawn(*shape, seed=seed, dtype=dtype)
    assert named(value, value + 3, [drawn(*shape, seed=9, dtype=dtype)])


def test_integers() -> None:
    """Integer outputs have patterns in their places, and no precision."""
    value = torch.arange(1000, 1100)
    off = value + 1
    assert named(value, off.to(torch.int32)) not in ("precision", "never_written")
    assert named(value, filled(value, 96, 0).to(torch.int64)) == "tail"
