"""What the interpreter replaces in Triton's language is the same for each launch, whoever found it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from typing import Any

SCRIPT = """
import json, pathlib, sys
import torch, triton, triton.language as tl
from triton.runtime import interpreter
from gpuprep.counters import triton_patching
from gpuprep.counters.triton_interpreter import Counter

looks = 0
inspected = interpreter.inspect.getmembers
def counted(*args):
    global looks
    looks += 1
    return inspected(*args)
interpreter.inspect.getmembers = counted

@triton.jit
def kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offsets, mask=offsets < n, other=0.0)
    tl.store(out_ptr + tl.program_id(0), tl.sum(x) + tl.max(x))

def launch():
    global looks
    looks = 0
    x, out = torch.arange(64.0), torch.zeros(2)
    with counter.recording(inputs=[x], path=__file__) as recording:
        kernel[(2,)](x, out, 64, BLOCK=32)
    return out.tolist(), looks

counter = Counter()
names = ("load", "store", "arange", "sum", "range", "static_assert")
before = [getattr(tl, name) for name in names]
first, second = launch(), launch()
is_restored = before == [getattr(tl, name) for name in names]
real, calls = tl.load, []
def mine(*args, **options):
    calls.append(1)
    return real(*args, **options)
mine.__triton_builtin__ = True
tl.load = mine
changed = launch()
print(json.dumps([first, second, is_restored, changed, len(calls), tl.load is mine]))
"""


def test_launches_after_the_first_look_for_nothing(tmp_path: Any) -> None:
    """The language is put right after each; a name that somebody has changed meanwhile is found anew."""
    path = tmp_path / "launches.py"
    path.write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run(
        [sys.executable, str(path)],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    first, second, is_restored, changed, n_calls, is_kept = json.loads(done.stdout)
    assert first[0] == second[0] == changed[0] == [527.0, 1583.0]
    assert first[1] > 0
    assert second[1] == 0
    assert is_restored
    assert changed[1] > 0
    assert n_calls == 2
    assert is_kept
