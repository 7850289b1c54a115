"""What this card can do, measured: the copy rate and the matmul rate that shares are taken of.

Cached outside any workspace, keyed by the card's UUID, driver and torch version.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gpuprep.errors import GraderFaultError
from gpuprep.worker.timing import median_interval, sample_ms

COPY_BYTES = 2**30
MATMUL_SIZE = 4096
CAP_S = 1.0
_CACHE_VERSION = 1


@dataclass(frozen=True)
class Ceilings:
    """Rates of one card. GB is 10⁹ bytes read plus written; a TFLOP/s is 10¹² multiplications and additions."""

    card: str
    copy_gb_per_s: float
    matmul_tflop_per_s: dict[str, float]


def measure(dtype: str) -> Ceilings:
    """The copy rate, and the matmul rate in one dtype, of the current card; from the cache where they are there.

    Raises:
        GraderFaultError: the card gave no figure.
    """
    import torch

    properties = torch.cuda.get_device_properties(0)
    key = f"{properties.uuid}|{torch.version.cuda}|{torch.__version__}|v{_CACHE_VERSION}"
    cached = _read().get(key)
    known = Ceilings(**cached) if cached else None
    copy = known.copy_gb_per_s if known else _copy_gb_per_s()
    matmul = dict(known.matmul_tflop_per_s) if known else {}
    if dtype not in matmul:
        matmul[dtype] = _matmul_tflop_per_s(dtype)
    ceilings = Ceilings(properties.name, copy, matmul)
    if known != ceilings:
        _write({**_read(), key: asdict(ceilings)})
    return ceilings


def _copy_gb_per_s() -> float:
    import torch

    source = torch.randint(0, 255, (COPY_BYTES,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    _, median_ms, _ = median_interval(sample_ms(target.copy_, [(source,), (source,)], cap_s=CAP_S))
    return _rate(2 * COPY_BYTES / 1e9, median_ms)


def _matmul_tflop_per_s(dtype: str) -> float:
    import torch

    # Random data: a card clocks higher on zeros, which flip no bits.
    a, b = (torch.randn(MATMUL_SIZE, MATMUL_SIZE, device="cuda").to(getattr(torch, dtype)) for _ in range(2))
    _, median_ms, _ = median_interval(sample_ms(torch.matmul, [(a, b), (a, b)], cap_s=CAP_S))
    return _rate(2 * MATMUL_SIZE**3 / 1e12, median_ms)


def _rate(amount: float, median_ms: float) -> float:
    if median_ms <= 0:
        raise GraderFaultError("the card's clock gave no time for a calibration", next_step="gpuprep doctor")
    return amount / (median_ms / 1e3)


def cache_path() -> Path:
    """`$XDG_CACHE_HOME/gpuprep/ceilings.json`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpuprep" / "ceilings.json"


def _read() -> dict[str, dict[str, Any]]:
    try:
        found = json.loads(cache_path().read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(ceilings: dict[str, dict[str, Any]]) -> None:
    # A cache that can't be written is only slower.
    with contextlib.suppress(OSError):
        cache_path().parent.mkdir(parents=True, exist_ok=True)
        cache_path().write_text(json.dumps(ceilings, indent=1))
