"""What this card can do, measured: the copy rate and the matmul rates that shares are taken of.

Cached outside any workspace, keyed by everything that changes them: the card, its driver and power limit, torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gpuprep.errors import GpuprepError
from gpuprep.worker.timing import median_interval, sample_ms

COPY_BYTES = 2**30
"""Source and target each; at a quarter of it the rate scatters several times as much."""
MATMUL_SIZE = 4096
"""Larger ones run into the power limit, and the clock then depends on what ran before."""
DTYPES = ("float16", "bfloat16", "float32")
CAP_S = 0.6
SPACING_S = 0.004
"""Between matmuls, so that the card does not warm up to a lower clock while it is calibrated."""
MOST_VARIATION = 0.02
"""Coefficient of variation of the middle half of the samples, above which a calibration is refused."""
TRIES = 3
N_LOOKS = 5
OUTDONE = 1.1
"""What is cached can be written by a learner's process. A card that does so much better than the cache says is measured
anew: a few looks cost milliseconds, and are off by some percent themselves."""
_CACHE_VERSION = 2


class UnstableCardError(GpuprepError):
    """The card's rate varies too much for a ceiling: something else runs on it, or it throttles."""


@dataclass(frozen=True)
class Ceilings:
    """Rates of one card. GB is 10⁹ bytes, read plus written; a TFLOP/s is 10¹² multiplications and additions."""

    card: str
    uuid: str
    copy_gb_per_s: float
    matmul_tflop_per_s: dict[str, float] = field(default_factory=dict)
    """By the operands' dtype."""

    def share_of_copy(self, n_bytes: int, time_ms: float) -> float:
        """Bytes moved in this time against the copy rate."""
        return n_bytes / 1e9 / (time_ms / 1e3) / self.copy_gb_per_s

    def share_of_matmul(self, flops: int, dtype: str, time_ms: float) -> float:
        """Operations done in this time against the matmul rate."""
        return flops / 1e12 / (time_ms / 1e3) / self.matmul_tflop_per_s[dtype]


def are_known(dtypes: Sequence[str]) -> bool:
    """True where `calibrate` would find all of these rates in its cache."""
    import torch

    found = _read().get(_key(torch.cuda.get_device_properties(0)))
    return found is not None and not set(dtypes) - set(Ceilings(**found).matmul_tflop_per_s)


def calibrate(dtypes: Sequence[str] = DTYPES, *, anew: bool = True) -> Ceilings:
    """The copy rate and the matmul rates of the current card.

    Args:
        dtypes: whose matmul rates are wanted.
        anew: measure even what the cache holds.

    Raises:
        UnstableCardError: the samples scatter too much to be a ceiling.
    """
    import torch

    properties = torch.cuda.get_device_properties(0)
    key = _key(properties)
    found = None if anew else _read().get(key)
    known = Ceilings(**found) if found else None
    if known and _is_outdone(known, dtypes):
        known = None
    ceilings = known or Ceilings(properties.name, str(properties.uuid), _copy_gb_per_s())
    for dtype in dtypes:
        if dtype not in ceilings.matmul_tflop_per_s:
            rates = {**ceilings.matmul_tflop_per_s, dtype: _matmul_tflop_per_s(dtype)}
            ceilings = replace(ceilings, matmul_tflop_per_s=rates)
    if ceilings != known:
        _write({**_read(), key: asdict(ceilings)})
    return ceilings


def _is_outdone(known: Ceilings, dtypes: Sequence[str]) -> bool:
    """True where the card does clearly better than these rates."""
    import torch

    source = torch.zeros(COPY_BYTES, dtype=torch.uint8, device="cuda")
    copy_ms = _fastest_ms(torch.empty_like(source).copy_, source)
    if known.share_of_copy(2 * COPY_BYTES, copy_ms) > OUTDONE:
        return True
    del source
    for dtype in set(dtypes) & set(known.matmul_tflop_per_s):
        a, b = _factors(dtype)
        if known.share_of_matmul(2 * MATMUL_SIZE**3, dtype, _fastest_ms(torch.matmul, a, b)) > OUTDONE:
            return True
    return False


def _fastest_ms(function: Callable[..., Any], *args: Any) -> float:
    import torch

    times = []
    for _ in range(N_LOOKS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        function(*args)
        end.record()
        end.synchronize()
        times.append(float(start.elapsed_time(end)))
    return min(times)


def _key(properties: Any) -> str:
    import torch

    from gpuprep.grading.machine import card_state

    state = card_state(frozenset({os.getpid()}))
    driver, limit_w = (state.driver, state.power_limit_w) if state else ("", None)
    return f"{properties.uuid}|{driver}|{torch.__version__}|{limit_w}|v{_CACHE_VERSION}"


def _copy_gb_per_s() -> float:
    import torch

    source = torch.randint(0, 255, (COPY_BYTES,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    steady_ms = _steady_ms("copy", lambda: sample_ms(target.copy_, [(source,), (source,)], cap_s=CAP_S))
    return 2 * COPY_BYTES / 1e9 / (steady_ms / 1e3)


def _matmul_tflop_per_s(dtype: str) -> float:
    import torch

    a, b = _factors(dtype)
    steady_ms = _steady_ms(
        f"{dtype} matmul", lambda: sample_ms(torch.matmul, [(a, b), (a, b)], cap_s=CAP_S, space_s=SPACING_S)
    )
    return 2 * MATMUL_SIZE**3 / 1e12 / (steady_ms / 1e3)


def _factors(dtype: str) -> tuple[Any, ...]:
    import torch

    # Random data: a card clocks higher on zeros, which flip no bits.
    return tuple(torch.randn(MATMUL_SIZE, MATMUL_SIZE, device="cuda").to(getattr(torch, dtype)) for _ in range(2))


def _steady_ms(what: str, sample: Callable[[], Sequence[float]]) -> float:
    variation = 0.0
    for _ in range(TRIES):
        # A card that was idle may need one round to settle its clocks.
        samples_ms = sample()
        ordered = sorted(samples_ms)
        middle = ordered[len(ordered) // 4 : -(len(ordered) // 4) or None]
        variation = statistics.pstdev(middle) / statistics.fmean(middle)
        if variation <= MOST_VARIATION:
            return median_interval(samples_ms)[1]
    raise UnstableCardError(
        f"this card's {what} rate varies by {variation:.1%} (at most {MOST_VARIATION:.0%} make a ceiling): "
        "something else runs on it, or it throttles",
        next_step="nvidia-smi, then gpuprep calibrate",
    )


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/gpuprep`, outside any workspace: what it holds is the card's, not a learner's."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpuprep"


def _read() -> dict[str, dict[str, Any]]:
    try:
        found = json.loads((cache_folder() / "ceilings.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(ceilings: dict[str, dict[str, Any]]) -> None:
    # A cache that can't be written is only slower.
    with contextlib.suppress(OSError):
        cache_folder().mkdir(parents=True, exist_ok=True)
        path = cache_folder() / "ceilings.json"
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(ceilings, indent=1))
        part.replace(path)
