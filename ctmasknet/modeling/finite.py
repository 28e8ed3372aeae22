"""NaN and infinity are errors that name their image, never results."""

import contextlib
from collections.abc import Iterator

import torch


class NotFiniteError(FloatingPointError):
    """An image gives NaN or infinity inside the network.

    Attributes:
        image: its place in the batch.
    """

    def __init__(self, image: int, name: str = ""):
        self.image = image
        super().__init__(
            f"{name or f'image {image} of the batch'} gives NaN or infinity inside the network; "
            "the weights have diverged or are damaged"
        )


def check_finite(image: int, *tensors: torch.Tensor) -> None:
    """Raise NotFiniteError when a value of an image's tensors is NaN or infinite."""
    if not all(torch.isfinite(tensor).all() for tensor in tensors):
        raise NotFiniteError(image)


@contextlib.contextmanager
def naming_images(batched_inputs: list[dict]) -> Iterator[None]:
    """Put the file's name into a NotFiniteError: inside the network it is not known."""
    try:
        yield
    except NotFiniteError as error:
        name = batched_inputs[error.image].get("file_name", "")
        raise NotFiniteError(error.image, name) from None
