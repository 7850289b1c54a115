"""From the pattern of wrong elements to the likely cause: natural mistakes get their name, garbage gets none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from gpuprep.grader import Draw, ErrorModel, Expected
from gpuprep.grading.diagnosis import Evidence, Recompute, diagnose
from gpuprep.grading.judge import judge
from gpuprep.model import Diagnosis

NAN = float("nan")
SEEDS = range(5)
VECTORS = (33, 1025, 4379)
MATRICES = ((33, 65), (64, 64), (5, 1025), (129, 7))


def named(value: torch.Tensor, got: torch.Tensor, args: Sequence[object] = (), **more: Any) -> str:
    """The id of the diagnosis of `got`, a result in its own dtype, where `value` was right."""
    return told(value, got, args, **more).id


def told(
    value: torch.Tensor,
    got: torch.Tensor,
    args: Sequence[object] = (),
    *,
    scale: torch.Tensor | None = None,
    n_terms: int = 0,
    recompute: Recompute | None = None,
    has_kernels: bool = True,
) -> Diagnosis:
    """The whole diagnosis."""
    expected = Expected(value.double(), str(got.dtype).removeprefix("torch."), scale=scale)
    judgement = judge(expected, got, ErrorModel(roundings=4))
    assert not judgement.is_right
    return diagnose(Evidence(expected, got, judgement.wrong, args, n_terms, recompute, has_kernels=has_kernels))


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


@pytest.mark.parametrize("has_kernels", [True, False])
def test_more_than_a_last_block(has_kernels: bool) -> None:
    """Where most was never written, rounding down is not the cause: the text says what is."""
    value = drawn(1023, 13)
    most = told(value, filled(value, 64, NAN, axis=0), has_kernels=has_kernels)
    last = told(value, filled(value, 960, NAN, axis=0), has_kernels=has_kernels)
    assert (most.id, last.id) == ("tail", "tail")
    assert "more than a last block" in most.text
    assert "more than a last block" not in last.text
    assert ("axes are swapped" in most.text) == ("rounds down" in last.text) == has_kernels


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


# Where no kernel does the work


def _one_row(value: torch.Tensor) -> torch.Tensor:
    got = value.clone()
    got[0] += drawn(value.shape[1], seed=1)
    return got


def _first_row_only(value: torch.Tensor) -> torch.Tensor:
    return torch.cat([value[:1], drawn(*value[1:].shape, seed=1)])


def _every_fourth(value: torch.Tensor) -> torch.Tensor:
    got = drawn(*value.shape, seed=1)
    got[::4] = value[::4]
    return got


def _some_unwritten(value: torch.Tensor) -> torch.Tensor:
    got = value.clone()
    got[16:32] = NAN
    return got


WITHOUT_KERNELS: dict[str, tuple[str, Callable[[torch.Tensor], torch.Tensor]]] = {
    "all unwritten": ("never_written", lambda value: torch.full_like(value, NAN)),
    "some unwritten": ("never_written", _some_unwritten),
    "end unwritten": ("tail", lambda value: filled(value, 100, NAN, axis=0)),
    "most unwritten": ("tail", lambda value: filled(value, 32, NAN, axis=0)),
    "end wrong": ("tail", lambda value: filled(value, 100, 7.5, axis=0)),
    "most wrong": ("tail", lambda value: filled(value, 32, 7.5, axis=0)),
    "first row right": ("stride", _first_row_only),
    "every fourth right": ("stride", _every_fourth),
    "edges wrong": ("tile_edge", lambda value: every(every(value, 16, axis=0), 16, axis=0, first=15)),
    "one row wrong": ("wrong_values", _one_row),
    "zero": ("dropped_term", lambda value: torch.tensor(0.0)),
    "terms missing": ("dropped_term", lambda value: value[:64].sum()),
    "every other term": ("dropped_term", lambda value: value[::2].sum()),
}
OF_KERNELS = ("kernel", "grid", "program", "launch", "stride", "lane", "thread", "the load")


@pytest.mark.parametrize("mistake", WITHOUT_KERNELS)
def test_no_kernel_is_spoken_of_where_there_is_none(mistake: str) -> None:
    """Tensors, loops and messages have neither grids nor strides: the id is the same, the text is another."""
    name, make = WITHOUT_KERNELS[mistake]
    value = drawn(127, 9)
    got = make(value)
    x = value if got.dim() else value.sum(1).double().float()
    args = (value, got, [value]) if got.dim() else (x.double().sum(), make(x), [x])
    more = {} if got.dim() else {"scale": x.double().abs().sum(), "n_terms": 127, "recompute": sum_again}
    found, in_kernels = (told(*args, **more, has_kernels=has) for has in (False, True))  # type: ignore[arg-type]
    assert found.id == in_kernels.id == name
    assert [word for word in OF_KERNELS if word in found.text] == []
    assert found.text != in_kernels.text


def test_no_stride_is_suspected_without_kernels() -> None:
    """Torch takes a view as it is."""
    x = Draw(0).tensor(33, 65, layout="padded")
    got = drawn(33, 65, seed=1)
    assert told(x * 2, got, [x]).id == "stride"
    assert told(x * 2, got, [x], has_kernels=False).id == "wrong_values"


def test_where_the_wrong_end_begins() -> None:
    """The number of the first wrong row is what a bound that is off by one counts from."""
    value = drawn(127, 9)
    got = torch.cat([value[:100], drawn(27, 9, seed=1)])
    assert "from number 100 on" in told(value, got, has_kernels=False).text


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


@pytest.mark.parametrize("seed", SEEDS)
def test_infinity_from_ordinary_inputs(seed: int) -> None:
    """Sums of scaled values that went past float16's range are no sums that lack terms; nor is a division by 0."""
    a, b = drawn(35, 136, seed=seed), drawn(136, 16, seed=seed + 50)
    value, scale = a.double() @ b.double(), a.double().abs() @ b.double().abs()
    sums = (a * 127 @ (b * 127)).half()
    assert bool(sums.isinf().any())
    assert bool(sums.isfinite().any())
    again = {"scale": scale, "n_terms": 136, "recompute": product_again}
    assert named(value, sums.float() / 127**2, [a, b], **again) == "overflow"
    assert named(a.double(), a / (a < 1), [a]) == "overflow"


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


SOME: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "without the first 32 ": lambda term: term >= 32,
    "without the first 128 ": lambda term: term >= 128,
    "without the first 1 ": lambda term: term >= 1,
    "the first of every 2 ": lambda term: term % 2 == 0,
    "the last of every 2 ": lambda term: term % 2 == 1,
    "the first 8 of every 16 ": lambda term: term % 16 < 8,
    "the last 16 of every 32 ": lambda term: term % 32 >= 16,
    "the first 64 of every 128 ": lambda term: term % 128 < 64,
    "the first of every 32 ": lambda term: term % 32 == 0,
    "the first 4 of every 128 ": lambda term: term % 128 < 4,
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [1023, 4096])
@pytest.mark.parametrize("part", SOME)
def test_some_terms_of_a_sum(part: str, n: int, seed: int) -> None:
    """A sum without its first block, or of every other block, is recognised, and the text says which terms are in."""
    x, kept = drawn(n, seed=seed), SOME[part](torch.arange(n))
    # Far enough off that it can't be chance.
    x[:32] += 2
    value, scale = x.double().sum(), x.double().abs().sum()
    found = told(value, x[kept].sum(), [x], scale=scale, n_terms=n, recompute=sum_again)
    assert found.id == "dropped_term"
    assert part in found.text


@pytest.mark.parametrize("part", SOME)
def test_some_terms_of_a_matmul(part: str) -> None:
    """The same for a loop along K."""
    a, b, kept = drawn(9, 1023), drawn(1023, 13, seed=50), SOME[part](torch.arange(1023))
    value, scale = a.double() @ b.double(), a.double().abs() @ b.double().abs()
    found = told(value, a[:, kept] @ b[kept], [a, b], scale=scale, n_terms=1023, recompute=product_again)
    assert found.id == "dropped_term"
    assert part in found.text


@pytest.mark.parametrize("k", [1023, 1024, 2177])
def test_one_step_along_k_too_few(k: int) -> None:
    """A loop that begins one step late but loads from the beginning lacks a whole block at the end."""
    a, b = drawn(9, k), drawn(k, 13, seed=50)
    value, scale = a.double() @ b.double(), a.double().abs() @ b.double().abs()
    got = a[:, : k - 32] @ b[: k - 32]
    assert named(value, got, [a, b], scale=scale, n_terms=k, recompute=product_again) == "dropped_term"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("k", [147, 1025])
def test_whole_terms_are_no_matter_of_precision(k: int, seed: int) -> None:
    """Some terms that nobody thought of are missing: little beside all of them, and too much for a rounding."""
    a, b = drawn(9, k, seed=seed), drawn(k, 13, seed=seed + 50)
    value, scale = a.double() @ b.double(), a.double().abs() @ b.double().abs()
    kept = torch.randperm(k, generator=torch.Generator().manual_seed(seed)) >= 25
    got = a[:, kept] @ b[kept]
    assert float(((got - value).abs() / scale).max()) < 0.2
    assert named(value, got, [a, b], scale=scale, n_terms=k, recompute=product_again) == "wrong_values"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("recompute", [sum_again, None], ids=["tried", "not tried"])
def test_half_of_a_sum_is_not_close(recompute: Recompute | None, seed: int) -> None:
    """A single number that lacks many of its terms is far off, though next to nothing beside all terms' sizes."""
    x = drawn(20_001, seed=seed)
    kept = torch.randperm(20_001, generator=torch.Generator().manual_seed(seed)) >= 10_000
    value, scale = x.double().sum(), x.double().abs().sum()
    got = x[kept].sum() if abs(x[~kept].sum()) > 80 else x.sum() + 100.0
    assert float((got - value).abs() / scale) < 2**-5
    assert named(value, got, [x], scale=scale, n_terms=20_001, recompute=recompute) == "wrong_values"


def tf32(x: torch.Tensor) -> torch.Tensor:
    return ((x.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


ROUNDED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "float16": lambda x: x.half().float(),
    "bfloat16": lambda x: x.bfloat16().float(),
    "tf32": tf32,
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("k", [35, 1025, 2177])
@pytest.mark.parametrize("rounded", ROUNDED.values(), ids=ROUNDED)
def test_matmul_of_rounded_inputs(rounded: Callable[[torch.Tensor], torch.Tensor], k: int, seed: int) -> None:
    """What tensor cores do to float32 is a matter of precision."""
    a, b = drawn(9, k, seed=seed), drawn(k, 13, seed=seed + 50)
    value, scale = a.double() @ b.double(), a.double().abs() @ b.double().abs()
    got = rounded(a) @ rounded(b)
    assert named(value, got, [a, b], scale=scale, n_terms=k, recompute=product_again) == "precision"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("k", [147, 1025, 2177])
@pytest.mark.parametrize("rounded", ROUNDED.values(), ids=ROUNDED)
def test_matmul_with_a_rounded_accumulator(rounded: Callable[[torch.Tensor], torch.Tensor], k: int, seed: int) -> None:
    """So is an accumulator that is rounded at each step of the loop, which loses more."""
    a, b = drawn(11, k, seed=seed), drawn(k, 13, seed=seed + 50)
    value, scale = a.double() @ b.double(), a.double().abs() @ b.double().abs()
    got = torch.zeros(11, 13)
    for start in range(0, k, 32):
        got = rounded(got + a[:, start : start + 32] @ b[start : start + 32])
    assert named(value, got, [a, b], scale=scale, n_terms=k, recompute=product_again) == "precision"


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
@pytest.mark.parametrize(("n", "kept"), [(3, 2), (33, 32), (1025, 1024), (1025, 1022), (4379, 1024)])
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
