"""What a network computes and moves, how fast the machine can be at it, and how fast it is."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from tabulate import tabulate
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from .profiling import OTHER, images_in_turn, time_stages
from .settings import Case, Contender
from .steps import build_step

_SIDE = 2048  # of the matrices
_BYTES = 2**24  # copied; about the largest activation
_REPEATS = 15
_COLUMNS = {"multiply_adds": 1e-9, "moved_bytes": 1e-6, "floor_seconds": 1e3, "seconds": 1e3}


class Work(TorchDispatchMode):
    """Counts, stage by stage, the work of PyTorch's operators.

    Attributes:
        multiply_adds: of convolutions and matrix products, by stage.
        moved: bytes that all other operators read and write, by stage; views move none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.multiply_adds: dict[str, float] = defaultdict(float)
        self.moved: dict[str, float] = defaultdict(float)
        self._stages: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func.name()
        stage = self._stages[0] if self._stages else OTHER
        if name.startswith("profiler::_record_function_enter"):
            self._stages.append(args[0].rpartition("/")[2])
        elif name.startswith("profiler::_record_function_exit"):
            self._stages.pop()
        elif (count := flop_registry.get(func._overloadpacket)) is not None:
            self.multiply_adds[stage] += count(*args, **(kwargs or {}), out_val=out) / 2
        elif not func.is_view:
            self.moved[stage] += sum(map(_bytes, (*args, *(kwargs or {}).values(), out)))
        return out


def _bytes(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    return sum(map(_bytes, value)) if isinstance(value, list | tuple) else 0


def matrix_rate(dtype: torch.dtype, device: str) -> float:
    """Multiply-adds per second of a product of large matrices, the best of a few."""
    a, b = (torch.randn(_SIDE, _SIDE, device=device).to(dtype) for _ in range(2))
    return _SIDE**3 / _fastest(lambda: a @ b, device)


def copy_rate(device: str) -> float:
    """Bytes per second that a copy reads and writes, the best of a few."""
    source = torch.ones(_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * _BYTES / _fastest(lambda: target.copy_(source), device)


def _fastest(run: Callable[[], object], device: str) -> float:
    seconds = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        run()
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def measure_budget(case: Case, precision: str) -> dict[str, Any]:
    """Count the work of our network's step and time its stages, one image after the other.

    Args:
        case: the setting.
        precision: of the network.

    Returns:
        "case", "precision", "multiply_adds_per_second", "bytes_per_second" and "stages": stage ->
        "multiply_adds", "moved_bytes", "floor_seconds" and "seconds", all per image.
    """
    torch.set_num_threads(case.threads)
    step = build_step(case, Contender("ctmasknet", precision))
    rates = matrix_rate(getattr(torch, precision), case.device), copy_rate(case.device)
    step()
    with images_in_turn(step.network), Work() as work:
        step()
    seconds = time_stages(step, case.device)
    stages = {}
    for name, spent in seconds.items():
        multiply_adds, moved = work.multiply_adds[name], work.moved[name]
        stages[name] = {
            "multiply_adds": multiply_adds / case.batch,
            "moved_bytes": moved / case.batch,
            "floor_seconds": (multiply_adds / rates[0] + moved / rates[1]) / case.batch,
            "seconds": spent / case.batch,
        }
    return {
        "case": case,
        "precision": precision,
        "multiply_adds_per_second": rates[0],
        "bytes_per_second": rates[1],
        "stages": stages,
    }


def describe_budget(found: dict[str, Any]) -> str:
    """The result as a table."""
    rows = [
        [name, *(scale * stage[key] for key, scale in _COLUMNS.items())]
        for name, stage in found["stages"].items()
    ]
    rows.append(["sum", *(sum(row[i] for row in rows) for i in range(1, 5))])
    headers = ["stage", "10^9 multiply-adds", "MB moved besides", "floor (ms)", "measured (ms)"]
    table = tabulate(rows, headers, floatfmt=("", ".2f", ".1f", ".1f", ".1f"))
    return (
        f"{found['case'].text}, {found['precision']}, per image, threads on one image at a time\n"
        f"this machine: {found['multiply_adds_per_second'] / 1e9:.0f} x 10^9 multiply-adds/s, "
        f"copies {found['bytes_per_second'] / 1e9:.0f} GB/s\n{table}"
    )
