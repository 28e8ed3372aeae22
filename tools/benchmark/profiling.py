"""Time by stage, from the ranges that our networks mark for PyTorch's profiler."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from .steps import PREFIX, Step

OTHER = "other"
_STEPS = 3  # profiled


def time_stages(step: Step, device: str) -> dict[str, float]:
    """Seconds of each stage in one step, the mean of a few; "other" is what no range covers.

    On a GPU a stage's time is that of its kernels, and "other" includes the GPU's waiting.

    Args:
        step: runs one step.
        device: where it computes.
    """
    on_gpu = torch.device(device).type == "cuda"
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    # Otherwise a GPU's backward runs in another thread, outside the range that marks it.
    one_thread = torch.autograd.set_multithreading_enabled(False)
    with one_thread, images_in_turn(step.network), profile(activities=activities) as profiler:
        started = time.perf_counter()
        for _ in range(_STEPS):
            step()
        if on_gpu:
            torch.cuda.synchronize()
        seconds = (time.perf_counter() - started) / _STEPS
    stages = _sum_ranges(profiler.events() or [], on_gpu)
    found = {name: total / 1e6 / _STEPS for name, total in stages.items()}
    return {**found, OTHER: max(seconds - sum(found.values()), 0.0)}


@contextlib.contextmanager
def images_in_turn(network: nn.Module) -> Iterator[None]:
    """Let a batch's images follow each other: the profiler sees this thread alone."""
    concurrent = getattr(network, "concurrent", False)
    if concurrent:
        network.concurrent = False  # type: ignore[assignment]
    try:
        yield
    finally:
        if concurrent:
            network.concurrent = True  # type: ignore[assignment]


def _sum_ranges(events: Iterable, on_gpu: bool) -> dict[str, float]:
    """Microseconds of the outermost ranges by stage, in the order of their first appearance."""
    found: dict[str, float] = {}
    for event in events:
        if not event.name.startswith(PREFIX) or _inside_range(event) or _is_copy(event):
            continue
        name = event.name.removeprefix(PREFIX)
        spent = event.device_time_total if on_gpu else event.cpu_time_total
        found[name] = found.get(name, 0.0) + spent
    return found


def _inside_range(event) -> bool:
    """Whether another range contains this one, so that its time is counted there already."""
    parent = event.cpu_parent
    while parent is not None:
        if parent.name.startswith(PREFIX):
            return True
        parent = parent.cpu_parent
    return False


def _is_copy(event) -> bool:
    """Whether it is the copy of a range that the profiler makes for the GPU."""
    return event.device_type != torch.autograd.DeviceType.CPU
