"""Grades ex_19 kernel clinic: six beds, and the occupancy calculator."""

import torch

from gpuprep.grader import ITEMSIZE, Budget, Case, ErrorModel, Expected, Grader, Tier

# Facts of an SM by compute capability, from the CUDA C++ Programming Guide's tables ("Compute Capabilities"). What they
# have in common: 64 Ki registers in 4 sub-partitions, 256 of them a unit, at most 1024 threads a block.
MAX_WARPS = {"7.0": 64, "7.5": 32, "8.0": 64, "8.6": 48, "8.9": 48, "9.0": 64, "10.0": 64, "12.0": 48}
MAX_BLOCKS = {"7.0": 32, "7.5": 16, "8.0": 32, "8.6": 16, "8.9": 24, "9.0": 32, "10.0": 32, "12.0": 24}
SHARED_KIB = {"7.0": 96, "7.5": 64, "8.0": 164, "8.6": 100, "8.9": 100, "9.0": 228, "10.0": 228, "12.0": 100}

LETTERS = "wrsb"
"""Of what limits the number of blocks: warps, registers, shared memory, blocks."""

# What cudaOccMaxActiveBlocksPerMultiprocessor in cuda_occupancy.h of CUDA 13.0 says of each launch: active blocks, and
# all factors that limit them. tests/test_kernel_clinic.py compiles NVIDIA's header and makes this table again.
GOLDEN = """
registers shared threads   7.0   7.5   8.0   8.6   8.9   9.0  10.0  12.0
        0      0     128   16w    8w   16w   12w   12w   16w   16w   12w
       16      0       1   32b   16b   32b   16b   24b   32b   32b   24b
       16      0      33  32wb  16wb  32wb   16b  24wb  32wb  32wb  24wb
       24      0     100   16w    8w   16w   12w   12w   16w   16w   12w
       32      0     160  12wr    6w  12wr    9w    9w  12wr  12wr    9w
       20      0     768    2w    1w    2w    2w    2w    2w    2w    2w
       16      0    1000    2w    1w    2w    1w    1w    2w    2w    1w
       32      0    1024   2wr    1w   2wr    1w    1w   2wr   2wr    1w
       16      0    1025    0w    0w    0w    0w    0w    0w    0w    0w
       32      0      32   32b   16b   32b   16b   24b   32b   32b   24b
       32      0      64 32wrb  16wb 32wrb   16b  24wb 32wrb 32wrb  24wb
       33      0      96   16r   10w   16r 16wrb  16wr   16r   16r  16wr
       33      0     128   12r    8w   12r  12wr  12wr   12r   12r  12wr
       41      0     256    5r    4w    5r    5r    5r    5r    5r    5r
       48      0     192    6r    5w    6r    6r    6r    6r    6r    6r
       72      0     128    7r    7r    7r    7r    7r    7r    7r    7r
       96      0     512    1r    1r    1r    1r    1r    1r    1r    1r
      128      0     544    0r    0r    0r    0r    0r    0r    0r    0r
      168      0      96    4r    4r    4r    4r    4r    4r    4r    4r
      255      0     256    1r    1r    1r    1r    1r    1r    1r    1r
      255      0     288    0r    0r    0r    0r    0r    0r    0r    0r
       32      1      64 32wrb  16wb 32wrb   16b  24wb 32wrb 32wrb  24wb
       32   7168      64   13s    9s   20s   12s   12s   28s   28s   12s
       32  13107      64    7s    4s   11s    7s    7s   16s   16s    7s
       32  13604      64    7s    4s   11s    6s    6s   15s   15s    6s
       32  15769      64    6s    4s    9s    6s    6s   13s   13s    6s
       32  24917      64    3s    2s    6s    3s    3s    8s    8s    3s
       32  16384     256    6s   4ws   8wr    5s    5s   8wr   8wr    5s
       32  49152      64    2s    1s    3s    2s    2s    4s    4s    2s
       32  65537     128    1s    0s    2s    1s    1s    3s    3s    1s
       32 101376     128    0s    0s    1s    1s    1s    2s    2s    1s
       32 166912     128    0s    0s    1s    0s    0s    1s    1s    0s
       32 232448     256    0s    0s    0s    0s    0s    1s    1s    0s
       42   6144      96   13r  10ws   13r   13r   13r   13r   13r   13r
       64  27648     128    3s    2s    5s    3s    3s   8rs   8rs    3s
      128  40000     224   2rs    1s    2r   2rs   2rs    2r    2r   2rs
"""

MAX_COLS = 12288
"""Columns of matvec, as the task promises."""
SHARED_BYTES_PER_THREAD = 96
"""Whatever the size of its blocks, a kernel with no more keeps half of the warps of an SM of capability 9.0 active."""
SECTOR_BYTES = 32
ROOM = 1.05
"""For accesses at the edges of a tile that fetch a sector twice."""


def golden_rows():
    """By (registers, shared bytes, threads): each compute capability's active blocks, and their limiters as letters."""
    head, *rows = (line.split() for line in GOLDEN.strip().splitlines())
    return {tuple(map(int, row[:3])): dict(zip(head[3:], map(_cell, row[3:]), strict=True)) for row in rows}


def _cell(text):
    return int(text.rstrip(LETTERS)), text.lstrip("0123456789")


def sm_limits(capability):
    """The fields of the stub's SMLimits."""
    is_before_ampere = capability.startswith("7.")
    return {
        "max_warps": MAX_WARPS[capability],
        "max_blocks": MAX_BLOCKS[capability],
        "shared_bytes": SHARED_KIB[capability] * 1024,
        "shared_unit_bytes": 256 if is_before_ampere else 128,
        "reserved_shared_bytes": 0 if is_before_ampere else 1024,
        "max_threads_per_block": 1024,
        "registers": 65536,
        "register_unit": 256,
        "sub_partitions": 4,
    }


class KernelClinic(Grader):
    function = "occupancy"
    parameters = ("registers_per_thread", "shared_bytes_per_block", "threads_per_block", "limits")

    def cases(self, rng):
        odd = 513 + 2 * rng.randrange(100)
        # The beds in the order of their outcomes' precedence, so that check after check leads from one to the next.
        return [
            *(_case("blur", n=n) for n in (1, 31, 255, 256, 257, odd)),
            *(_case("normalise", M=m, N=n) for m, n in ((1, 1), (3, 33), (2, 256), (2, odd))),
            *(_case("prefix_sums", n=n) for n in (1, 33, 256, 257, odd)),
            *(_case("smooth", M=m, decay=d) for m, d in ((1, 0.5), (33, 0.75), (128, 0.75), (odd // 2, 0.5))),
            *(_case("column_sums", M=m, N=n) for m, n in ((1, 1), (7, 33), (65, 31), (33, odd))),
            *(_case("matvec", M=m, N=n) for m, n in ((1, 1), (3, 33), (65, 256), (5, odd), (3, MAX_COLS))),
            *(
                _case("occupancy", devices=("cpu",), registers=registers, shared=shared, threads=threads)
                for registers, shared, threads in golden_rows()
            ),
            _case("blur", Tier.WORK, n=2**12),
            _case("normalise", Tier.WORK, M=8, N=2**10),
            _case("prefix_sums", Tier.WORK, n=2**11),
            _case("smooth", Tier.WORK, M=2**9, decay=0.75),
            _case("column_sums", Tier.WORK, M=2**8, N=2**7),
            _case("matvec", Tier.WORK, M=2**4, N=MAX_COLS),
        ]

    def inputs(self, case, draw):
        op = case["op"]
        if op == "occupancy":
            return op, case["registers"], case["shared"], case["threads"], [sm_limits(name) for name in SHARED_KIB]
        if op == "smooth":
            return op, draw.tensor(case["M"], 32), case["decay"]
        if op == "matvec":
            return op, draw.tensor(case["M"], case["N"]), draw.tensor(case["N"])
        return op, draw.tensor(*(case[axis] for axis in ("M", "N", "n") if case.get(axis)))

    def argument_names(self, case):
        return ("op", *({"occupancy": self.parameters, "matvec": ("a", "v")}.get(case["op"], ("x", "decay"))))

    def oracle(self, case, op, *args):
        if op == "occupancy":
            blocks, limiters, share = self.honest(case, op, *args)
            return Expected(blocks, "int64"), Expected(limiters, "int64"), Expected(share, "float64")
        exact = [arg.double() if isinstance(arg, torch.Tensor) else arg for arg in args]
        # Each is a sum of products, at most divided by something positive: on magnitudes it gives Σ|terms|.
        magnitudes = [abs(arg) for arg in exact]
        return (Expected(FORMULAS[op](*exact), "float32", scale=FORMULAS[op](*magnitudes)),)

    def honest(self, case, op, *args, order=None):
        if op != "occupancy":
            return (FORMULAS[op](*args, **({} if order is None else {"order": order})),)
        cells = golden_rows()[case["registers"], case["shared"], case["threads"]]
        n_warps = -(-case["threads"] // 32)
        return (
            torch.tensor([blocks for blocks, _ in cells.values()]),
            torch.tensor([[letter in limiters for letter in LETTERS] for _, limiters in cells.values()]).long(),
            torch.tensor([cells[name][0] * n_warps / MAX_WARPS[name] for name in cells], dtype=torch.float64),
        )

    def error_model(self, case):
        # The longest honest running sum, some hundred terms in one thread, makes a random walk of errors; the smoothing
        # forgets its errors as it forgets its samples.
        return ErrorModel(roundings=16)

    def reduction_size(self, case):
        axis = {"normalise": "N", "column_sums": "M", "matvec": "N"}.get(case["op"])
        return case[axis] if axis else 0

    def uses_kernels(self, case):
        return case["op"] != "occupancy"

    def budgets(self, case):
        op = case["op"]
        n_rows, n_cols = case.get("M", 1), {"smooth": 32}.get(op) or case.get("N") or case["n"]
        n_bytes, row_bytes = (n * ITEMSIZE["float32"] for n in (n_rows * n_cols, n_cols))
        sectors = n_bytes // SECTOR_BYTES
        once = Budget("bytes_loaded", n_bytes, n_bytes, "each input once")
        all_stored = Budget("bytes_stored", n_bytes, n_bytes, "each output once")
        every_byte = "every byte of a sector is used: 4 sectors where a warp reads 32 neighbouring floats"
        coalesced = (
            Budget("sectors_per_load", 1, 16, "4 where a warp reads 32 neighbouring floats, 16 with float4"),
            Budget("sectors_loaded", sectors, ROOM * sectors, every_byte),
        )
        if op == "blur":
            of_the_op = (
                Budget("bytes_loaded", n_bytes, 3 * n_bytes, "at most the three terms of each sum"),
                all_stored,
            )
        elif op == "normalise":
            of_the_op = (Budget("bytes_loaded", n_bytes, 2 * n_bytes, "once for the sum, once to divide"), all_stored)
        elif op == "prefix_sums":
            of_the_op = (once, all_stored)
        elif op == "smooth":
            no_conflicts = Budget("bank_conflicts", 0, 0, "lanes in 32 different banks, or at the same word")
            of_the_op = (no_conflicts, *coalesced, Budget("sectors_stored", sectors, ROOM * sectors, every_byte), once)
        elif op == "column_sums":
            # The parts of a column that eight warps have, say, may meet by stores or atomics; not all of its elements.
            few_stores = Budget("bytes_stored", 0, 8 * row_bytes, "each sum once, or a few parts of it")
            few_atomics = Budget("atomics", 0, 8 * n_cols, "a few parts of each sum")
            of_the_op = (*coalesced, few_atomics, once, few_stores)
        else:
            why = "half of the warps of an SM of compute capability 9.0 active, whatever the size of the blocks"
            of_the_op = (
                Budget("shared_bytes_per_thread", 0, SHARED_BYTES_PER_THREAD, why),
                Budget("sectors_per_load", 1, 16, "4 where a warp reads 32 neighbouring floats, 16 with float4"),
                Budget("bytes_loaded", n_bytes, 2.1 * n_bytes, "a once, and v at most once for each row"),
            )
        # Column sums may need zeros to start from.
        return Budget("launches", 1, 2 if op == "column_sums" else 1, "one kernel does it"), *of_the_op


def _case(op, tier=Tier.CORRECT, devices=("cpu", "cuda"), **sizes):
    return Case({"op": op, **sizes}, tier=tier, devices=devices)


# What the beds compute, in the dtype of their arguments; `order` is that of the terms of their sums.
ANY = slice(None)


def _blur(x):
    padded = torch.nn.functional.pad(x, (1, 1))
    return (padded[:-2] + x + padded[2:]) / 3


def _normalise(x, order=ANY):
    return x / x[:, order].abs().sum(1, keepdim=True)


def _prefix_sums(x):
    return torch.cat([chunk.cumsum(0) for chunk in x.split(256)])


def _smooth(x, decay):
    columns = [(1 - decay) * x[:, 0]]
    for sample in x.T[1:]:
        columns.append(decay * columns[-1] + (1 - decay) * sample)
    return torch.stack(columns, dim=1)


def _column_sums(x, order=ANY):
    return x[order].sum(0)


def _matvec(a, v, order=ANY):
    return (a[:, order] * v[order]).sum(1)


FORMULAS = {
    "blur": _blur,
    "normalise": _normalise,
    "prefix_sums": _prefix_sums,
    "smooth": _smooth,
    "column_sums": _column_sums,
    "matvec": _matvec,
}

GRADER = KernelClinic()
