"""Judges which kernels did a learner's work, from what the worker's trace says.

The trace is a claim, but a narrow one: to pass, it has to agree with the times, and those with the grader's own clock.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpuprep.model import Outcome

LEAST_OWN_SHARE = 0.95
"""Of the device time; the rest is room for small change around a kernel: a cast scalar, a copied flag."""
TOLERANCE = 0.05
TOLERANCE_NS = 5_000
"""Event time against kernel time: an event pair alone costs a few microseconds, and clocks move a little."""
HIDDEN_HOST_NS = 150_000
"""Host time a call that the timing hides behind its spin kernel, counted low: the fastest cards spin the quickest."""

_LIBRARIES = {
    "cuBLAS": r"nvjet_|cublas|_[sdhczi]?gemm_|gemv(NSP|2[TN]|x::)|gemmSN_|gemmk1_|splitKreduce|"
    r"\b(dot|reduce_1Block|axpy|scal|nrm2|asum|iamax)_kernel(_val)?<.*cublas",
    "cuDNN": r"cudnn|cask|implicit_convolve|convolve_common_engine|winograd|xmma_(fprop|dgrad|wgrad)",
}
