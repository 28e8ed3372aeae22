"""A batch split into microbatches, which PyTorch's threads take side by side.

On a CPU a few images at a time are as fast as any number, as long as the memory of their
activations is reused: what glibc gives back to the system must be mapped anew, page by page, at
every use (malloc.py, docs/performance.md).
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain, groupby, islice
from threading import Barrier, Lock
from typing import TypeVar

import torch
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from ..modeling import CTMaskNet, LesionRCNN
from .grey_input import is_grey
from .rebind import rebind

# Measured: with more, page faults cost more than larger matrices gain.
_MAX_BYTES = 2**24
# Values for each pixel of what is alive together: 64 channels at half the width and height in the
# stem, which goes through a microbatch in parts where no gradient is wanted, and later a layer's
# input and output at a quarter.
STEM_VALUES, LATER_VALUES = 64 / 4, 2 * 64 / 16
# In training all that waits for its gradient is alive. Microbatches of twice the size take 4 to 7 %
# less time, but with two threads more than half the memory of torchvision's network.
TRAINED_VALUES = 64 / 4

_Result = TypeVar("_Result")
_Losses = dict[str, torch.Tensor]
_starting = Lock()


def microbatches(model: LesionRCNN) -> None:
    """Split batches into microbatches, which PyTorch's threads take side by side on a CPU.

    An image's result then does not depend on its batch. A CT-Mask-Net accumulates its gradients
    over microbatches while it computes its losses, so memory is that of one for each thread.
    `model.concurrent = False` lets microbatches take turns, each on all threads.
    """
    model.concurrent = True
    rebind(model, "run_batch", _run_batch, LesionRCNN)
    if isinstance(model, CTMaskNet):
        rebind(model, "run_losses", _run_losses, CTMaskNet)


def _run_batch(model: LesionRCNN, infer: Callable[[list[dict]], list], inputs: list[dict]) -> list:
    # With gradients no activation is freed between microbatches: threads would only take memory.
    threads = 1 if torch.is_grad_enabled() else _threads_for(model, len(inputs))
    parts = split_batch(inputs, model.device, model.precision, at_least=threads)
    return list(chain.from_iterable(map_parts(infer, list(parts), threads)))


def _run_losses(
    model: CTMaskNet, losses: Callable[[list[dict]], _Losses], inputs: list[dict]
) -> _Losses:
    autocast = torch.get_autocast_dtype(model.device.type)
    halves = torch.is_autocast_enabled(model.device.type) and autocast == torch.float16
    if halves or model.precision == torch.float16 or not torch.is_grad_enabled():
        # Small gradients in float16 vanish unless the loss is scaled, which is done to what this
        # returns: they must not be taken before.
        return type(model).run_losses(model, losses, inputs)
    if any(isinstance(x, _BatchNorm) and x.training for x in model.image_head.modules()):
        return type(model).run_losses(model, losses, inputs)  # statistics of the whole batch
    threads = 1 if _draws_random_numbers(model) else _threads_for(model, len(inputs))
    parts = split_batch(inputs, model.device, model.precision, TRAINED_VALUES, at_least=threads)
    trained = [x for x in model.parameters() if x.requires_grad]
    return accumulated_losses(losses, list(parts), trained, threads)


def _threads_for(model: LesionRCNN, images: int) -> int:
    """How many microbatches are computed at a time, each on one thread."""
    threads = torch.get_num_threads()
    head = getattr(model, "image_head", None)
    concurrent = model.concurrent and getattr(head, "concurrent", True)
    return threads if concurrent and model.device.type == "cpu" and images >= threads else 1


def _draws_random_numbers(model: CTMaskNet) -> bool:
    """Return whether training draws random numbers, which threads would do in any order."""
    drops = any(isinstance(x, _DropoutNd) for x in model.image_head.modules())
    return drops or getattr(model.roi_heads, "fill_generator", None) is not None


def fitting_images(height: int, width: int, values: float, dtype: torch.dtype) -> int:
    """Return how many images' activations, `values` a pixel, stay in memory that is reused."""
    return max(1, int(_MAX_BYTES // (height * width * values * dtype.itemsize)))


def split_batch(
    inputs: list[dict],
    device: torch.device,
    dtype: torch.dtype,
    values: float = LATER_VALUES,
    at_least: int = 1,
) -> Iterator[list[dict]]:
    """Split a batch into consecutive images of one size, all grey or none (on a CPU).

    They need no padding and take one path, so an image's result does not depend on its batch.

    Args:
        inputs: each with "image", (3, height, width).
        device: on a CPU, microbatches are small enough for its memory; elsewhere size alone counts.
        dtype: of activations.
        values: of the largest activation, for each pixel.
        at_least: microbatches, where there are as many images.
    """

    def kind(item: dict) -> tuple[torch.Size, bool]:
        return item["image"].shape[-2:], device.type == "cpu" and is_grey(item["image"])

    for ((height, width), _), alike in groupby(inputs, kind):
        most = -(-len(inputs) // at_least)
        if device.type == "cpu":
            most = min(most, fitting_images(height, width, values, dtype))
        while part := list(islice(alike, most)):
            yield part


def map_parts(
    function: Callable[[list[dict]], _Result], parts: list[list[dict]], threads: int
) -> Iterator[_Result]:
    """Call a function on each microbatch.

    Side by side on several threads, each has one: so NMS and all else that PyTorch computes on one
    thread is shared, too.

    Args:
        function: of a microbatch; called in other threads, in PyTorch's modes and autocast of this
            one.
        parts: of a batch.
        threads: how many microbatches at a time.

    Returns:
        What the function returns, in order. If it raises, so does this; microbatches that have
        begun go on in the background.
    """
    if threads == 1 or len(parts) == 1:
        return map(function, parts)
    with _starting:
        pool = _pool(threads)
    # Each thread has modes of its own.
    inference, gradient = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
    dtype, half = torch.get_autocast_dtype("cpu"), torch.is_autocast_enabled("cpu")

    def in_same_modes(part: list[dict]) -> _Result:
        with (
            torch.inference_mode(inference),
            torch.set_grad_enabled(gradient),
            torch.autocast("cpu", dtype, enabled=half, cache_enabled=False),
        ):
            return function(part)

    return pool.map(in_same_modes, parts)


@cache
def _pool(count: int) -> ThreadPoolExecutor:
    """Threads that each compute on one thread of PyTorch."""
    barrier = Barrier(count + 1)

    def start() -> None:
        torch.get_num_threads()  # or the first computation would set the thread's number anew
        torch.set_num_threads(1)
        barrier.wait()

    pool = ThreadPoolExecutor(count, "ctmasknet", initializer=start)
    for _ in range(count):
        pool.submit(int)
    barrier.wait()
    torch.set_num_threads(count)  # as before, for threads that begin later
    return pool


# A forked process has the pool, but not its threads.
os.register_at_fork(after_in_child=_pool.cache_clear)


def accumulated_losses(
    losses: Callable[[list[dict]], _Losses],
    parts: list[list[dict]],
    parameters: list[torch.Tensor],
    threads: int = 1,
) -> _Losses:
    """Mean losses of a batch, whose gradients are computed microbatch by microbatch.

    As soon as a microbatch's losses are known, so are their gradients, and its activations are
    freed. `backward` of a result hands the finished gradients on.

    Args:
        losses: mean losses over the images of a microbatch, by name; each image's must not depend
            on the others. With several threads it should draw no random numbers, as their order
            would change.
        parts: the batch.
        parameters: all that `losses` depend on and that want a gradient.
        threads: see `map_parts`.

    Returns:
        Scalars, with gradients for `parameters` (first derivatives only).
    """
    total = sum(len(part) for part in parts)

    def share(part: list[dict]) -> _Losses:
        return {name: loss * (len(part) / total) for name, loss in losses(part).items()}

    if len(parts) == 1:
        return share(parts[0])
    names: list[str] = []
    values = _AccumulatedLosses.apply(share, parts, threads, names, *parameters)
    return dict(zip(names, values, strict=True))


class _AccumulatedLosses(torch.autograd.Function):
    """Losses whose gradients are taken in `forward`; `names` receives theirs, in order."""

    @staticmethod
    def forward(ctx, share, parts, threads, names, *parameters):
        def differentiate(part: list[dict]) -> dict[str, list[torch.Tensor | None]]:
            with torch.enable_grad():
                own = share(part)
            last = list(own)[-1]
            return {
                name: [loss.detach(), *_gradients(loss, parameters, name != last)]
                for name, loss in own.items()
            }

        sums: dict[str, list[torch.Tensor]] = {}
        for found in map_parts(differentiate, parts, threads):  # summed in order
            for name in found:
                zeros = [torch.zeros_like(x) for x in (found[name][0], *parameters)]
                _add(sums.setdefault(name, zeros), found[name])
            del found  # before the next microbatch begins
        names.extend(sums)
        ctx.save_for_backward(*(x for name in names for x in sums[name][1:]))
        return tuple(sums[name][0] for name in names)

    @staticmethod
    @once_differentiable
    def backward(ctx, *factors):
        count = len(ctx.saved_tensors) // len(factors)
        totals = [factors[0] * gradient for gradient in ctx.saved_tensors[:count]]
        for i, factor in enumerate(factors[1:], 1):
            _add(totals, [factor * x for x in ctx.saved_tensors[i * count : (i + 1) * count]])
        return None, None, None, None, *totals


def _gradients(loss: torch.Tensor, parameters: tuple, retain_graph: bool) -> tuple:
    if not loss.requires_grad:  # logged alone
        return (None,) * len(parameters)
    return torch.autograd.grad(loss, parameters, retain_graph=retain_graph, allow_unused=True)


def _add(totals: list[torch.Tensor], more: list[torch.Tensor | None]) -> None:
    for total, own in zip(totals, more, strict=True):
        if own is not None:
            total += own
