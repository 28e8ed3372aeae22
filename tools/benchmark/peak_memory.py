"""Peak memory of this process."""

from __future__ import annotations

import re
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """Growth of the process's memory since the start, or memory allocated on the GPU.

    Measure one network per process: another one's freed memory would be counted as its start.
    """

    def __init__(self, device: str):
        """Start from what the process holds now, which is the libraries if nothing is built yet."""
        self._device = torch.device(device)
        self._start = 0.0
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        elif _CLEAR.exists():
            _CLEAR.write_text("5")  # resets VmHWM, which importing has raised
            self._start = _status("VmRSS")

    def read(self) -> float | None:
        """The peak in MB; None on systems that do not report it."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 1e6
        return _status("VmHWM") - self._start if _CLEAR.exists() else None


def _status(key: str) -> float:
    found = re.search(rf"^{key}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024 / 1e6
