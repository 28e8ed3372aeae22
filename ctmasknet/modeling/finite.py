"""NaN and infinity are errors that name their image, never results."""

import contextlib
from collections.abc import Iterator, Sequence

import torch

# A sum in half precision overflows long before its terms do.
_SUM = {torch.float16: torch.float32, torch.bfloat16: torch.float32}


class NotFiniteError(FloatingPointError):
    """An image gives NaN or infinity inside the network.

    Attributes:
        image: its place among those that went through the network together.
        name: its file; "" as long as it is not known.
    """

    def __init__(self, image: int, name: str = ""):
        self.image, self.name = image, name
        super().__init__(
            f"{name or f'image {image} of the batch'} gives NaN or infinity inside the network; "
            "the weights have diverged or are damaged"
        )


def check_finite(*values: torch.Tensor | Sequence[torch.Tensor]) -> None:
    """Raise NotFiniteError when a value of some image is NaN or infinite.

    Args:
        values: tensors whose first axis counts the images of a batch, or sequences of one tensor
            for each image. They are all looked at with one wait for the device.
    """
    finite = [
        # One pass; it can be infinite only if values are, or about to be.
        value.sum(dim=tuple(range(1, value.dim())), dtype=_SUM.get(value.dtype)).isfinite()
        if isinstance(value, torch.Tensor)
        else torch.stack([torch.isfinite(own).all() for own in value])
        for value in values
    ]
    per_image = torch.stack(finite).all(dim=0).tolist()
    if not all(per_image):
        raise NotFiniteError(per_image.index(False))


@contextlib.contextmanager
def naming_images(batched_inputs: list[dict]) -> Iterator[None]:
    """Put the file's name into a NotFiniteError: inside the network it is not known."""
    try:
        yield
    except NotFiniteError as error:
        if error.name:  # known from an inner one, whose batch was a part of this
            raise
        name = batched_inputs[error.image].get("file_name", "")
        raise NotFiniteError(error.image, name) from None
