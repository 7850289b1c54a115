# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# A fixed number of blocks, each of which takes tile after tile through dynamic shared memory.

from pathlib import Path

from gpuprep.cuda import RawModule

TILE = 32
_module = RawModule(code=Path(__file__).with_suffix(".cu").read_text(encoding="utf-8"), options=(f"-DTILE={TILE}",))


def transpose(x):
    m, n = x.shape
    out = x.new_empty((n, m))
    n_tiles = -(-m // TILE) * -(-n // TILE)
    kernel = _module.get_function("transpose_kernel")
    # On a card, eight blocks for each of an H200's multiprocessors.
    n_blocks = min(n_tiles, 8 * 132 if x.is_cuda else 8)
    kernel((n_blocks,), (TILE, 8), (x, out, m, n), shared_mem=TILE * (TILE + 1) * 4)
    return out
