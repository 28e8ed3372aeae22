"""NaN and infinity are errors that name their image, never results."""

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
