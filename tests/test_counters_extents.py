"""Logical extents against a brute-force list of element addresses."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from gpuprep.counters.accesses import Access
from gpuprep.counters.extents import Extent

BASE = 4096


def brute_force(shape, strides, itemsize):
    """Every byte that belongs to an element."""
    elements = {
        sum(i * stride for i, stride in zip(index, strides, strict=True))
        for index in itertools.product(*map(range, shape))
    }
    return {BASE + element * itemsize + byte for element in elements for byte in range(itemsize)}


def layouts():
    """Named and random layouts: contiguous, transposed, padded, expanded, overlapping, interleaved, empty."""
    named = [
        ((5,), (1,)),
        ((), ()),
        ((3, 4), (4, 1)),
        ((3, 4), (1, 3)),
        ((3, 4), (7, 1)),
        ((3, 4), (8, 2)),
        ((3, 1, 4), (4, 99, 1)),
        ((3, 4), (0, 1)),
        ((3, 4), (0, 0)),
        ((6, 3), (1, 1)),
        ((3, 2), (2, 3)),
        ((2, 3, 4), (12, 1, 3)),
        ((2, 3, 4), (40, 12, 2)),
        ((0,), (1,)),
        ((3, 0), (1, 1)),
    ]
    draw = random.Random(7)
    for _ in range(60):
        n_dims = draw.randint(1, 3)
        shape = tuple(draw.randint(1, 4) for _ in range(n_dims))
        named.append((shape, tuple(draw.randint(0, 9) for _ in range(n_dims))))
    return named


@pytest.mark.parametrize("itemsize", [1, 2, 4, 8])
def test_contains_agrees_with_brute_force(itemsize):
    """An address is inside exactly when all bytes of the access belong to elements, whatever its width."""
    for shape, strides in layouts():
        extent = Extent("x_ptr", BASE, shape, strides, itemsize)
        owned = brute_force(shape, strides, itemsize)
        for width in (1, 2, 4, 8):
            addresses = np.arange(BASE - 8 * itemsize, extent.high + 8 * itemsize, dtype=np.uint64)
            expected = [all(int(address) + byte in owned for byte in range(width)) for address in addresses]

            assert extent.contains(addresses, width).tolist() == expected, (shape, strides, width)


def test_range_covers_the_first_to_the_last_element():
    """`low`, `high` and `span` include gaps between elements but no padding after the last one."""
    extent = Extent("x_ptr", BASE, (3, 4), (7, 1), 4)

    assert (extent.low, extent.span, extent.high) == (BASE, 18, BASE + 72)
    assert not extent.is_dense


@pytest.mark.parametrize(
    ("shape", "strides", "is_dense"),
    [
        ((3, 4), (4, 1), True),
        ((3, 4), (1, 3), True),
        ((3, 1), (1, 50), True),
        ((5, 4), (0, 1), True),
        ((3, 4), (5, 1), False),
        ((4,), (2,), False),
        ((0, 4), (4, 1), True),
    ],
)
def test_dense_means_without_gaps(shape, strides, is_dense):
    """A permuted or expanded tensor is as dense as its elements are; a padded or stepped one isn't."""
    assert Extent("x_ptr", BASE, shape, strides, 4).is_dense is is_dense


def test_an_empty_tensor_owns_no_address():
    """A tensor without elements contains nothing, its own base included."""
    extent = Extent("x_ptr", BASE, (0,), (1,), 4)

    assert not extent.contains(np.array([BASE], dtype=np.uint64), 4).any()
    assert extent.locate(BASE) == "past the end of x_ptr: index 0 of 0 elements"


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (BASE - 4, "before the start of x_ptr: index -1"),
        (BASE + 72, "past the end of x_ptr: index 18 of 18 elements with shape (3, 4) and strides (7, 1)"),
        (BASE + 20, "between the elements of x_ptr: offset 5 with shape (3, 4) and strides (7, 1)"),
        (BASE, "outside the tensor that x_ptr is a view of: element 0"),
    ],
)
def test_locate_says_on_which_side_an_address_lies(address, text):
    """The contract for the wording."""
    assert Extent("x_ptr", BASE, (3, 4), (7, 1), 4).locate(address) == text


def test_covers_is_never_wrongly_true():
    """A dense tensor covers views inside it; a padded one vouches for itself only."""
    dense, padded = Extent("x", BASE, (24,), (1,), 4), Extent("p", BASE, (3, 4), (7, 1), 4)

    assert dense.covers(padded)
    assert padded.covers(Extent("q", BASE, (3, 4), (7, 1), 4))
    assert not padded.covers(dense)
    assert not padded.covers(Extent("row", BASE, (6,), (1,), 4))


def test_sectors_of_scattered_lanes_agree_with_a_set():
    """Sorted, unsorted, repeated and consecutive lanes give the number of distinct sectors."""
    draw = np.random.default_rng(3)
    for size, reach in [(1, 50), (64, 64), (500, 3000), (500, 100)]:
        offsets = draw.integers(0, reach, size)
        for lanes in (offsets, np.sort(offsets), np.arange(size)):
            addresses = (BASE + 4 * lanes).astype(np.uint64)

            assert Access(addresses, 4, "load").n_sectors() == len({int(address) // 32 for address in addresses})


def test_a_part_of_a_masked_access_keeps_its_values():
    """Lanes and stored values stay together through masks of masks."""
    pointers = (BASE + 4 * np.arange(12)).astype(np.uint64).reshape(3, 4)
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    mask = values % 2 == 0
    access = Access.of(pointers, mask, 4, "store")
    part = access.part(np.array([True, False, False, True, False, True]))

    assert access.values(values, (3, 4)).tolist() == [0, 2, 4, 6, 8, 10]
    assert part.values(values, (3, 4)).tolist() == [0, 6, 10]
    assert part.addresses.tolist() == [BASE, BASE + 24, BASE + 40]


def test_misaligned_lanes_are_those_off_their_own_width():
    """Alignment is judged by the access, not by the tensor."""
    shifted = np.array([BASE, BASE + 2, BASE + 8], dtype=np.uint64)
    aligned = Access((BASE + 4 * np.arange(8)).astype(np.uint64), 4, "load")

    assert Access(shifted, 4, "load").misaligned().tolist() == [False, True, False]
    assert Access(shifted, 2, "load").misaligned() is None
    assert aligned.misaligned() is None
