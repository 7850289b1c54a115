"""`gpuprep calibrate`: what this card can do, measured now."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuprep.errors import GpuprepError

if TYPE_CHECKING:
    from gpuprep.grading.ceilings import Ceilings


@dataclass(frozen=True)
class Calibration:
    """The ceilings, and how long measuring them took."""

    ceilings: Ceilings
    elapsed_s: float


def calibrate_card(on_event: Callable[[str], None]) -> Calibration:
    """Measure the current card anew and remember its ceilings.

    Args:
        on_event: gets a few words where that has to wait for another check.

    Raises:
        GpuprepError: there is no card, or its rate varies too much to be a ceiling.
    """
    import torch

    from gpuprep.grading import lease
    from gpuprep.grading.ceilings import calibrate
    from gpuprep.grading.machine import card_uuids

    if not torch.cuda.is_available():
        raise GpuprepError("no GPU to calibrate: speed is graded where there is one", next_step="gpuprep doctor")
    with lease.timing(card_uuids(), on_event):
        started = time.monotonic()
        ceilings = calibrate()
    return Calibration(ceilings, time.monotonic() - started)
