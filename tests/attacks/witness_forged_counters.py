# expect: BANNED_CALL
# layer: witness
# torch adds. What the counters say of it is replaced by what they would say of a perfect kernel, in the process in which
# they run: bytes, launches, stored elements, and a list of host operations that stays empty.

import torch
from gpuprep.counters.recording import Recording
from gpuprep.counters.torch_ops import HostOps
from gpuprep.model import Work

seen = {"n": 0, "itemsize": 0}


def perfect_work(recording):
    n_bytes = seen["n"] * seen["itemsize"]
    return Work(bytes_loaded=2 * n_bytes, bytes_stored=n_bytes, launches=1, programs=1)


Recording.work = property(perfect_work)
Recording.stored_into = lambda recording, tensor: tensor.numel()
HostOps.note = lambda *_: None


def add(x, y):
    seen.update(n=x.numel(), itemsize=x.element_size())
    return x + y
