"""What a launch did: counted requests, findings, output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpuprep.counters.cuda_emulator import layout as shared
from gpuprep.counters.cuda_emulator.arena import Bytes
from gpuprep.counters.findings import Finding


@dataclass(frozen=True)
class SiteCounts:
    """What one line of a kernel asked of memory."""

    line: int
    kind: str
    """`load`, `store`, `shared_load`, `shared_store`, `atomic` or `shared_atomic`."""
    requests: int
    n_bytes: int
    sectors: int
    wavefronts: int
    least_wavefronts: int
    """Wavefronts of as many requests without bank conflicts."""


@dataclass(frozen=True)
class Counts:
    """Source-level warp requests of a launch, and what they came to. Totals over all warps."""

    bytes_loaded: int = 0
    bytes_stored: int = 0
    sectors_loaded: int = 0
    sectors_stored: int = 0
    """Distinct 32-byte sectors of each request, summed."""
    load_requests: int = 0
    store_requests: int = 0
    shared_requests: int = 0
    shared_wavefronts: int = 0
    bank_conflicts: int = 0
    """Wavefronts beyond the least that requests of that width need."""
    atomics: int = 0
    """Of single threads."""
    barriers: int = 0
    """Of whole blocks."""
    mma: int = 0
    """Warp-wide matrix multiply-accumulates."""
    mma_flops: int = 0
    blocks: int = 0
    threads: int = 0
    sites: tuple[SiteCounts, ...] = ()
    """By line and kind."""

    @property
    def sectors_per_load(self) -> float:
        """Sectors a load request; 0.0 where there were none."""
        return self.sectors_loaded / self.load_requests if self.load_requests else 0.0

    @property
    def sectors_per_store(self) -> float:
        """Sectors a store request; 0.0 where there were none."""
        return self.sectors_stored / self.store_requests if self.store_requests else 0.0


@dataclass(frozen=True)
class Launched:
    """What a launch did."""

    counts: Counts
    findings: tuple[Finding, ...]
    output: str
    """What the kernel printed."""
    written: tuple[Bytes | None, ...]
    """For each buffer 1 for every byte of its storage that was stored to; None where none was."""
    seconds: float
    """Of running the kernel, without copies and start."""
    is_complete: bool = True
    """False where a fault ended the launch early."""


def site_rows(rows: Sequence[Any], lines: Mapping[int, int]) -> tuple[SiteCounts, ...]:
    """The counts of sites, summed by line and kind."""
    sums: dict[tuple[int, str], list[int]] = {}
    for row in rows:
        key = (lines.get(row.site, 0), shared.ROW_KINDS[row.kind])
        values = (row.requests, row.bytes, row.sectors, row.wavefronts, row.least_wavefronts)
        sums[key] = [a + b for a, b in zip(sums.get(key, [0] * len(values)), values, strict=True)]
    return tuple(SiteCounts(line, kind, *values) for (line, kind), values in sorted(sums.items()))
