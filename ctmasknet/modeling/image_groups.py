"""A batch in groups of images that go through the network together.

On a CPU a few images at a time are as fast as any number, as long as the memory of their
activations is reused: what glibc gives back to the system must be mapped anew, page by page, at
every use (docs/performance.md).
"""

from collections.abc import Callable, Iterator
from itertools import groupby, islice

import torch
from torch.autograd.function import once_differentiable

# Measured: without page faults, and large enough for all threads.
_MAX_BYTES = 2**24
# Values for each pixel of what is alive together: 64 channels at half the width and height in the
# stem, which goes through a group in parts where no gradient is wanted, and later a layer's input
# and output at a quarter.
STEM_VALUES, LATER_VALUES = 64 / 4, 2 * 64 / 16


def fitting_images(height: int, width: int, values: float, dtype: torch.dtype) -> int:
    """How many images' activations, `values` for each pixel, stay in memory that is reused."""
    return max(1, int(_MAX_BYTES // (height * width * values * dtype.itemsize)))


def image_groups(
    batched_inputs: list[dict],
    device: torch.device,
    dtype: torch.dtype,
    values: float = LATER_VALUES,
) -> Iterator[list[dict]]:
    """Split a batch into groups of images of one size, in order.

    Images of one size need no padding, so an image's answer does not depend on its batch.

    Args:
        batched_inputs: each with "image", (3, height, width).
        device: on a CPU, groups are small enough for its memory; elsewhere size alone counts.
        dtype: of activations.
        values: of the largest activation, for each pixel.

    Yields:
        Consecutive inputs.
    """
    for (height, width), alike in groupby(batched_inputs, lambda x: x["image"].shape[-2:]):
        most = len(batched_inputs)
        if device.type == "cpu":
            most = fitting_images(height, width, values, dtype)
        while group := list(islice(alike, most)):
            yield group


def mean_loss(
    loss: Callable[[list[dict]], torch.Tensor],
    groups: list[list[dict]],
    parameters: list[torch.Tensor],
) -> torch.Tensor:
    """Mean loss of a batch, whose gradients are computed group by group.

    As soon as a group's loss is known, so are its gradients, and its activations are freed: memory
    is that of one group. `backward` of the result hands the finished gradients on.

    Args:
        loss: mean loss over the images of a group; each image's must not depend on the others.
        groups: the batch.
        parameters: all that `loss` depends on and that want a gradient.

    Returns:
        Scalar, with gradients for `parameters` (first derivatives only).
    """
    if not torch.is_grad_enabled() or len(groups) == 1:
        total = sum(len(group) for group in groups)
        return torch.stack([loss(group) * (len(group) / total) for group in groups]).sum()
    return _MeanLoss.apply(loss, groups, *parameters)


class _MeanLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, loss, groups, *parameters):
        total = sum(len(group) for group in groups)
        value, gradients = 0.0, [torch.zeros_like(parameter) for parameter in parameters]
        for group in groups:
            with torch.enable_grad():
                part = loss(group) * (len(group) / total)
            for gradient, own in zip(
                gradients, torch.autograd.grad(part, parameters, allow_unused=True), strict=True
            ):
                if own is not None:
                    gradient += own
            value += part.detach()
        ctx.save_for_backward(*gradients)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        return None, None, *(own * gradient for own in ctx.saved_tensors)
