"""The state of the card while it is measured, and nothing of the learner's running where that must not be."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from typing import Any

import psutil

from gpuprep.grading.ceilings import UnstableCardError
from gpuprep.model import CardState

_NVML_THROTTLES = {
    # Bits of nvmlClocksEventReasons. The first three mean that the card protects itself: no figure holds then.
    0x08: "hardware slow-down",
    0x20: "thermal limit (software)",
    0x40: "thermal limit (hardware)",
    0x80: "power brake",
    0x04: "power cap",
    0x10: "sync boost",
    0x02: "application clocks",
}
_SPOILING = frozenset({0x08, 0x20, 0x40, 0x80})


def card_uuids(n_cards: int = 1) -> tuple[str, ...]:
    """Of the current card, or of the first so many."""
    import torch

    return tuple(str(torch.cuda.get_device_properties(place).uuid) for place in range(n_cards))


def card_state(ours: frozenset[int], since_s: float = 0.0) -> CardState | None:
    """What NVML says of the current card, or None where there is no NVML.

    Args:
        ours: process ids of this check, which are no strangers on the card.
        since_s: whoever used the card before this moment (as `time.time` tells it) is no stranger either.
    """
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return _state(pynvml, _handle(pynvml), ours, since_s)
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _handle(nvml: Any) -> Any:
    import torch

    uuid = str(torch.cuda.get_device_properties(0).uuid)
    return nvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}")


def _state(nvml: Any, card: Any, ours: frozenset[int], since_s: float) -> CardState:
    def ask(name: str, *arguments: Any) -> Any:
        # Each figure for itself: cards, drivers and containers refuse different ones.
        try:
            return getattr(nvml, name)(card, *arguments)
        except (nvml.NVMLError, AttributeError):
            return None

    reasons = ask("nvmlDeviceGetCurrentClocksThrottleReasons") or 0
    power_mw, limit_mw = ask("nvmlDeviceGetPowerUsage"), ask("nvmlDeviceGetEnforcedPowerLimit")
    present = {process.pid for process in ask("nvmlDeviceGetComputeRunningProcesses") or ()}
    return CardState(
        driver=_text(nvml.nvmlSystemGetDriverVersion()),
        sm_clock_mhz=ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
        memory_clock_mhz=ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
        temperature_c=ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
        power_w=None if power_mw is None else power_mw / 1e3,
        power_limit_w=None if limit_mw is None else limit_mw / 1e3,
        throttling=tuple(word for bit, word in _NVML_THROTTLES.items() if reasons & bit),
        is_spoiled=any(reasons & bit for bit in _SPOILING),
        strangers=_busy_strangers(ask, present, ours, since_s),
    )


def _busy_strangers(ask: Any, present: set[int], ours: frozenset[int], since_s: float) -> tuple[str, ...] | None:
    """The processes of others that kept the card's multiprocessors busy; None where that can't be told."""
    if not present & ours:
        # A container that sees the host's process ids, or none at all: our own would look like strangers.
        return None
    recent = ask("nvmlDeviceGetProcessUtilization", int(since_s * 1e6))
    if recent is None:
        return None
    busy = {sample.pid for sample in recent if sample.smUtil > 0 and sample.timeStamp > since_s * 1e6}
    return tuple(_named(pid) for pid in sorted(busy & present - ours))


def _named(pid: int) -> str:
    try:
        return f"process {pid} ({psutil.Process(pid).name()})"
    except psutil.Error:
        return f"process {pid}"


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


PROBE_CYCLES = 2_000_000
"""About a millisecond: long enough that a second busy process on the card has to get its slice of it."""
CALM = 1.4
"""The probe may take this many times what it took on a calm card."""
CALM_WITHIN_S = 1.0


def probe_ms(n_probes: int = 1) -> float:
    """Wall time of a kernel that only waits, the least of several: longer when others share the card."""
    import torch

    times = []
    for _ in range(n_probes):
        started = time.perf_counter()
        torch.cuda._sleep(PROBE_CYCLES)  # type: ignore[no-untyped-call]  # noqa: SLF001
        torch.cuda.synchronize()
        times.append((time.perf_counter() - started) * 1e3)
    return min(times)


@contextlib.contextmanager
def held_still(pid: int, calm_ms: float) -> Iterator[None]:
    """Stops a process and its descendants, as `stopped` does, for a block that begins once the card is calm.

    What it had queued on the card still runs, so the block begins only when that is over.

    Raises:
        UnstableCardError: something keeps the card busy all the same.
    """
    with stopped(pid):
        deadline = time.monotonic() + CALM_WITHIN_S
        while probe_ms() > CALM * calm_ms:
            if time.monotonic() > deadline:
                raise UnstableCardError(
                    "something kept the card busy while the solution was not running: check again when it is free",
                    next_step="nvidia-smi",
                )
        yield


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stops a process and its descendants for as long as the block lasts."""
    found = _signal_all(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in reversed(found):
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGCONT)


def _signal_all(pid: int, number: signal.Signals) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)
        return family
    return []
