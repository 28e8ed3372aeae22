"""From the chosen boxes of an image to its ranked tensor.

Shapes: B images, K lesion classes, n boxes kept of one image, N ranked boxes, D numbers in a row.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

ENCODINGS = ("deltas", "image")
FILLS = ("even", "random")


@dataclass
class RankedBoxes:
    """The ranked boxes of a batch, best first.

    Attributes:
        rows: (B, N, D) float, the ranked tensor that the image head reads; see `encode_rows`.
        boxes: (B, N, 4) float, the decoded and clipped boxes, x0 y0 x1 y1 in input pixels.
        classes: (B, N) int64, lesion classes in [0, K).
        counts: (B,) int64, number of different boxes. A row beyond them repeats a neighbour; with
            a count of 0 all rows and boxes are zeros.
    """

    rows: torch.Tensor
    boxes: torch.Tensor
    classes: torch.Tensor
    counts: torch.Tensor

    def __getitem__(self, image: int) -> "RankedBoxes":
        """Return one image's, without the first axis."""
        return RankedBoxes(
            self.rows[image], self.boxes[image], self.classes[image], self.counts[image]
        )

    def distinct(self) -> torch.Tensor:
        """The rows (n, D) of one image, evenly filled, without their repeats."""
        places = first_places(int(self.counts), len(self.rows))
        return self.rows[places.to(self.rows.device)]


def row_size(num_lesion_classes: int, class_one_hot: bool) -> int:
    """D: score and four numbers of the box, then one for each class if wanted."""
    return 5 + (num_lesion_classes if class_one_hot else 0)


def encode_rows(
    scores: torch.Tensor,
    deltas: torch.Tensor,
    boxes: torch.Tensor,
    classes: torch.Tensor,
    image_size: tuple[int, int],
    encoding: str,
    num_one_hot: int = 0,
) -> torch.Tensor:
    """Write each box as a row of numbers.

    "deltas" is the papers' row: the raw regression output of the box's own class, neither decoded
    nor divided by the box weights. It says how a proposal was corrected, not where the lesion is
    or how large: two boxes at opposite ends of the image can have the same row. "image" exists
    so that module S can see this: the decoded box over the image's width and height, in [0, 1].
    A row of the papers does not tell the lesion's class either; the one-hot adds it.

    Args:
        scores: (n,) in [0, 1].
        deltas: (n, 4).
        boxes: (n, 4) decoded boxes, x0 y0 x1 y1 in input pixels; gradients flow through them.
        classes: (n,) int64 in [0, K).
        image_size: (height, width) of the image without padding.
        encoding: "deltas" or "image".
        num_one_hot: K to append the class, 0 to leave it out.

    Returns:
        (n, 5 + num_one_hot).
    """
    if encoding == "image":
        height, width = image_size
        place = boxes / boxes.new_tensor([width, height, width, height])
    else:
        place = deltas
    parts = [scores[:, None], place]
    if num_one_hot:
        parts.append(F.one_hot(classes, num_one_hot).to(scores.dtype))
    return torch.cat(parts, dim=1)


def fill_positions(count: int, num: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """Return which of `count` ranks takes each of `num` places, in order.

    Copies stand next to their original and every rank is used. Spread evenly, [3, 1, 2] fills five
    places as [3, 3, 1, 1, 2].

    Args:
        count: n, with 1 <= n <= N.
        num: N.
        generator: on the CPU; draws the repeated ranks at random, as in the papers. None spreads
            them evenly.

    Returns:
        (N,) int64, non-decreasing, onto [0, n).
    """
    if generator is None:
        return torch.arange(num) * count // num
    repeated = torch.randint(count, (num - count,), generator=generator)
    return torch.cat([torch.arange(count), repeated]).sort().values


def first_places(count: int, num: int) -> torch.Tensor:
    """Return the place of each rank's first row in an even fill, (n,) int64; 0 <= n <= N."""
    return torch.searchsorted(fill_positions(count, num), torch.arange(count))


def rank_rows(
    rows: list[torch.Tensor],
    boxes: list[torch.Tensor],
    classes: list[torch.Tensor],
    num: int,
    generator: torch.Generator | None = None,
) -> RankedBoxes:
    """Fill each image's kept boxes to N and stack the batch.

    Args:
        rows: B tensors (n, D), best first; gradients flow through them.
        boxes: B tensors (n, 4).
        classes: B tensors (n,).
        num: N.
        generator: see `fill_positions`.

    Returns:
        The ranked boxes. An image with no box at all gets rows, boxes and classes of zeros.
    """
    filled = [_fill(image, num, generator) for image in zip(rows, boxes, classes, strict=True)]
    of_rows, of_boxes, of_classes = (torch.stack(part) for part in zip(*filled, strict=True))
    counts = torch.tensor([len(x) for x in rows], device=rows[0].device)
    return RankedBoxes(of_rows, of_boxes, of_classes, counts)


def fill_rows(
    rows: list[torch.Tensor], num: int, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Return the ranked tensor (B, N, D) of B tensors (n, D) without repeats; see `rank_rows`."""
    return torch.stack([_fill((image,), num, generator)[0] for image in rows])


def _fill(
    image: tuple[torch.Tensor, ...], num: int, generator: torch.Generator | None
) -> list[torch.Tensor]:
    count = len(image[0])
    if count == 0:
        # Joined to nothing, zeros still belong to the graph: data-parallel training wants a
        # gradient of every parameter, if only of zeros.
        return [torch.cat([x, x.new_zeros((num, *x.shape[1:]))]) for x in image]
    positions = fill_positions(count, num, generator)
    return [values[positions.to(values.device)] for values in image]
