"""`gpuprep calibrate`: what this card can do, measured now."""

from __future__ import annotations

import time
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


def calibrate_card() -> Calibration:
    """Measure the current card anew and remember its ceilings.

    Raises:
        GpuprepError: there is no card, or its rate varies too much to be a ceiling.
    """
    import torch

    from gpuprep.grading.ceilings import calibrate
    from gpuprep.grading.machine import card_lock

    if not torch.cuda.is_available():
        raise GpuprepError("no GPU to calibrate: speed is graded where there is one", next_step="gpuprep doctor")
    started = time.monotonic()
    with card_lock(str(torch.cuda.get_device_properties(0).uuid)):
        ceilings = calibrate()
    return Calibration(ceilings, time.monotonic() - started)
