"""A batch in groups of images that go through the network together.

On a CPU a few images at a time are as fast as any number, as long as the memory of their
activations is reused: what glibc gives back to the system must be mapped anew, page by page, at
every use (docs/performance.md).
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import groupby, islice
from threading import Barrier, Lock
from typing import TypeVar

import torch
from torch.autograd.function import once_differentiable

from .grey_input import is_grey

# Measured: with more, page faults cost more than larger matrices gain.
_MAX_BYTES = 2**24
# Values for each pixel of what is alive together: 64 channels at half the width and height in the
# stem, which goes through a group in parts where no gradient is wanted, and later a layer's input
# and output at a quarter.
STEM_VALUES, LATER_VALUES = 64 / 4, 2 * 64 / 16
# In training all that waits for its gradient is alive. Groups of twice the size take 4 to 7 % less
# time, but with two threads more than half the memory of torchvision's network, which is our limit.
TRAINED_VALUES = 64 / 4

_Answer = TypeVar("_Answer")
_starting = Lock()


def fitting_images(height: int, width: int, values: float, dtype: torch.dtype) -> int:
    """How many images' activations, `values` for each pixel, stay in memory that is reused."""
    return max(1, int(_MAX_BYTES // (height * width * values * dtype.itemsize)))


def image_groups(
    batched_inputs: list[dict],
    device: torch.device,
    dtype: torch.dtype,
    values: float = LATER_VALUES,
    at_least: int = 1,
) -> Iterator[list[dict]]:
    """Split a batch into groups of images of one size, all grey or none (on a CPU), in order.

    They need no padding, and take one path, so an image's answer does not depend on its batch.

    Args:
        batched_inputs: each with "image", (3, height, width).
        device: on a CPU, groups are small enough for its memory; elsewhere size alone counts.
        dtype: of activations.
        values: of the largest activation, for each pixel.
        at_least: groups, where there are as many images.

    Yields:
        Consecutive inputs.
    """

    def kind(item: dict) -> tuple[torch.Size, bool]:
        return item["image"].shape[-2:], device.type == "cpu" and is_grey(item["image"])

    for ((height, width), _), alike in groupby(batched_inputs, kind):
        most = -(-len(batched_inputs) // at_least)
        if device.type == "cpu":
            most = min(most, fitting_images(height, width, values, dtype))
        while group := list(islice(alike, most)):
            yield group


def map_groups(
    function: Callable[[list[dict]], _Answer], groups: list[list[dict]], threads: int
) -> Iterator[_Answer]:
    """Call a function on each group.

    Side by side on several threads, each group has one: so NMS and all else that PyTorch computes
    on one thread is shared, too.

    Args:
        function: of a group; called in other threads, in PyTorch's modes and autocast of this one.
        groups: of a batch.
        threads: how many groups at a time.

    Returns:
        What the function returns, in order. If it raises, so does this; groups that have begun go
        on in the background.
    """
    if threads == 1 or len(groups) == 1:
        return map(function, groups)
    with _starting:
        pool = _threads(threads)
    # Each thread has modes of its own.
    inference, gradient = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
    dtype, half = torch.get_autocast_dtype("cpu"), torch.is_autocast_enabled("cpu")

    def in_same_modes(group: list[dict]) -> _Answer:
        with (
            torch.inference_mode(inference),
            torch.set_grad_enabled(gradient),
            torch.autocast("cpu", dtype, enabled=half),
        ):
            return function(group)

    return pool.map(in_same_modes, groups)


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    """Threads on which PyTorch computes without helpers."""
    barrier = Barrier(count + 1)

    def start() -> None:
        torch.get_num_threads()  # or the first computation would set the thread's number anew
        torch.set_num_threads(1)
        barrier.wait()

    pool = ThreadPoolExecutor(count, "ctmasknet", initializer=start)
    for _ in range(count):
        pool.submit(int)
    barrier.wait()
    torch.set_num_threads(count)  # for threads that begin later
    return pool


# A forked process has the pool, but not its threads.
os.register_at_fork(after_in_child=_threads.cache_clear)


def mean_loss(
    loss: Callable[[list[dict]], torch.Tensor],
    groups: list[list[dict]],
    parameters: list[torch.Tensor],
    threads: int = 1,
) -> torch.Tensor:
    """Mean loss of a batch, whose gradients are computed group by group.

    As soon as a group's loss is known, so are its gradients, and its activations are freed: memory
    is that of a group for each thread. `backward` of the result hands the finished gradients on.

    Args:
        loss: mean loss over the images of a group; each image's must not depend on the others. With
            several threads it should draw no random numbers, as their order would change.
        groups: the batch.
        parameters: all that `loss` depends on and that want a gradient.
        threads: see `map_groups`.

    Returns:
        Scalar, with gradients for `parameters` (first derivatives only).
    """
    total = sum(len(group) for group in groups)

    def share(group: list[dict]) -> torch.Tensor:
        return loss(group) * (len(group) / total)

    if not torch.is_grad_enabled() or len(groups) == 1:
        return torch.stack([share(group) for group in groups]).sum()
    return _MeanLoss.apply(share, groups, threads, *parameters)


class _MeanLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, share, groups, threads, *parameters):
        def differentiate(group: list[dict]) -> tuple[torch.Tensor, tuple]:
            with torch.enable_grad():
                part = share(group)
            return part.detach(), torch.autograd.grad(part, parameters, allow_unused=True)

        value, gradients = 0.0, [torch.zeros_like(parameter) for parameter in parameters]
        for part, own in map_groups(differentiate, groups, threads):  # summed in order
            value += part
            for gradient, more in zip(gradients, own, strict=True):
                if more is not None:
                    gradient += more
            del own, more  # before the next group begins
        ctx.save_for_backward(*gradients)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        return None, None, None, *(own * gradient for own in ctx.saved_tensors)
