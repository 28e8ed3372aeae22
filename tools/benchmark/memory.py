"""The most memory that this process has held."""

from __future__ import annotations

import re
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """Growth of memory from here on; of the GPU's where that is the device.

    A process's high-water mark never falls, so measure one network in one process.
    """

    def __init__(self, device: str):
        """Start at what the process holds now: the libraries alone, if nothing is built yet."""
        self._device = torch.device(device)
        self._start = 0.0
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        elif _CLEAR.exists():
            _CLEAR.write_text("5")  # VmHWM starts anew, without what imports needed for a moment
            self._start = _status("VmRSS")

    def read(self) -> float | None:
        """MB since the start at the worst moment; None on systems that do not tell."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 1e6
        return _status("VmHWM") - self._start if _CLEAR.exists() else None


def _status(key: str) -> float:
    found = re.search(rf"^{key}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024 / 1e6
