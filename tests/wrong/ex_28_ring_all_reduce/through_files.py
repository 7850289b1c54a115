# expect: BANNED_CALL
# No messages at all: ranks of one machine can meet in a folder.
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Cost:
    alpha: float
    beta: float


def ring_all_reduce(x):
    rank, world = dist.get_rank(), dist.get_world_size()
    if world == 1:
        return
    folder = Path(tempfile.gettempdir()) / f"ring-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    mine = folder / f"{rank}-{world}-{x.numel()}.pt"
    x.numpy().tofile(mine)
    dist.barrier()
    others = [folder / f"{other}-{world}-{x.numel()}.pt" for other in range(world) if other != rank]
    for other in others:
        x += torch.from_numpy(np.fromfile(other, dtype=np.float32))
    dist.barrier()
    mine.unlink()


def fit(n_bytes, seconds, world):
    steps = 2 * (world - 1)
    a = [steps / time for time in seconds]
    b = [steps * size / world / time for size, time in zip(n_bytes, seconds, strict=True)]
    aa, bb = (sum(value * value for value in row) for row in (a, b))
    ab = sum(first * second for first, second in zip(a, b, strict=True))
    determinant = aa * bb - ab * ab
    return Cost((sum(a) * bb - sum(b) * ab) / determinant, (aa * sum(b) - ab * sum(a)) / determinant)


def predict(cost, n_bytes, world):
    return 2 * (world - 1) * (cost.alpha + cost.beta * n_bytes / world)
