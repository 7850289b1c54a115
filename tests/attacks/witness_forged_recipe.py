# expect: CRASHED
# layer: witness
# Leaves nothing to be counted again: what the process should write down about its launches is replaced by a few words
# that mean nothing, in the hope that nothing counts as nothing wrong.

import sys

import torch
from gpuprep.counters.recording import Recording
from gpuprep.counters.torch_ops import HostOps
from gpuprep.model import Work

sizes = {"n_bytes": 0}


def perfect_work(recording):
    return Work(2 * sizes["n_bytes"], sizes["n_bytes"], launches=1, programs=1)


Recording.work = property(perfect_work)
Recording.stored_into = lambda recording, tensor: tensor.numel()
HostOps.note = lambda *_: None


class Nothing:
    def recipe(self, outputs):
        return {"functions": [], "steps": [{"trust": "me"}], "outputs": [[0]] * len(outputs), "why_not": ""}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


sys.modules["gpuprep.worker.running"]._followed = lambda args, is_wanted: Nothing()


def add(x, y):
    sizes["n_bytes"] = x.numel() * x.element_size()
    return x + y
