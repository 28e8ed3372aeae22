"""From the chosen boxes of an image to its ranked tensor.

Shapes: B images, K lesion classes, n boxes kept of one image, N ranked boxes, D numbers in a row,
F features of a box, G features of an image.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch.nn import functional as F

ENCODINGS = ("deltas", "image")
FEATURES = ("", "box_head")
FILLS = ("even", "random")
_OF_BOXES = ("rows", "boxes", "classes", "valid", "features")


@dataclass
class RankedBoxes:
    """The ranked boxes of a batch, best first: all that an image head reads.

    Of one image the first axis is missing.

    Attributes:
        rows: (B, N, D) float, the papers' ranked tensor; see `encode_rows`.
        boxes: (B, N, 4) float, the decoded and clipped boxes, x0 y0 x1 y1 in input pixels.
        classes: (B, N) int64, lesion classes in [0, K).
        valid: (B, N) bool, True at the first place of each box. The other places repeat the box
            before them; of an image without any box all places are zeros, and none is valid.
        image_sizes: (B, 2) float, height and width of the input without padding, in pixels.
        features: (B, N, F) float, the box head's vector of the RoI that each box comes from; None
            unless MODEL.RANKED_BOXES.FEATURES asks for it.
        global_features: (B, G) float, the mean of the backbone's map over the image; None unless
            MODEL.IMAGE_HEAD.GLOBAL_FEATURES asks for it.
    """

    rows: torch.Tensor
    boxes: torch.Tensor
    classes: torch.Tensor
    valid: torch.Tensor
    image_sizes: torch.Tensor
    features: torch.Tensor | None = None
    global_features: torch.Tensor | None = None

    @property
    def counts(self) -> torch.Tensor:
        """Number of different boxes, (B,) int64."""
        return self.valid.sum(-1)

    @property
    def scores(self) -> torch.Tensor:
        """Scores in [0, 1], (B, N)."""
        return self.rows[..., 0]

    @property
    def vectors(self) -> torch.Tensor:
        """Rows with the features after them, where there are any: (B, N, D + F)."""
        return self.rows if self.features is None else torch.cat([self.rows, self.features], -1)

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> "RankedBoxes":
        """Return them with every tensor replaced."""
        return RankedBoxes(**{name: function(x) for name, x in self.tensors().items()})

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the tensors by name, without those that were not asked for."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: x for name, x in found.items() if x is not None}

    def __getitem__(self, image: int | None) -> "RankedBoxes":
        """Return one image's; None makes a batch of one image's."""
        return self.map(lambda x: x[image])

    def to(self, device: torch.device) -> "RankedBoxes":
        return self.map(lambda x: x.to(device))

    def distinct(self) -> "RankedBoxes":
        """Return one image's without repeats: n boxes instead of N."""
        return self.placed(self.valid.nonzero()[:, 0])

    def placed(self, boxes: torch.Tensor, valid: torch.Tensor | None = None) -> "RankedBoxes":
        """Put some of one image's boxes into places.

        Args:
            boxes: (N,) int64, which box takes each place; (B, N) makes a batch of this image.
            valid: of the places, in the same shape; None takes those of the boxes.
        """
        found = {
            name: x[boxes] if name in _OF_BOXES else x.expand(*boxes.shape[:-1], *x.shape)
            for name, x in self.tensors().items()
        }
        return RankedBoxes(**(found if valid is None else {**found, "valid": valid}))

    def without_boxes(self) -> "RankedBoxes":
        """Return the same places with zeros, as of an image in which there is no box."""
        zeros = {k: torch.zeros_like(x) for k, x in self.tensors().items() if k in _OF_BOXES}
        return replace(self, **zeros)  # type: ignore[arg-type]


@dataclass(frozen=True)
class RankedBoxesShape:
    """The sizes that an image head is built for.

    Attributes:
        num_boxes: N.
        row_size: D.
        features: F; 0 for none.
        global_features: G; 0 for none.
    """

    num_boxes: int
    row_size: int = 5
    features: int = 0
    global_features: int = 0

    @property
    def vector_size(self) -> int:
        """Numbers of a box: D + F."""
        return self.row_size + self.features

    def zeros(self, images: int) -> RankedBoxes:
        """Return boxes of zeros in these sizes, all valid, on the CPU."""
        places = torch.zeros(images, self.num_boxes, dtype=torch.int64)
        return RankedBoxes(
            torch.zeros(*places.shape, self.row_size),
            torch.zeros(*places.shape, 4),
            places,
            places == 0,
            torch.ones(images, 2),
            torch.zeros(*places.shape, self.features) if self.features else None,
            torch.zeros(images, self.global_features) if self.global_features else None,
        )


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


def fill_ranked_boxes(
    images: list[RankedBoxes], num: int, generator: torch.Generator | None = None
) -> RankedBoxes:
    """Fill each image's boxes to N and stack the batch.

    Args:
        images: B images, each with its n boxes, best first; gradients flow through them.
        num: N.
        generator: see `fill_positions`.

    Returns:
        The ranked boxes. An image with no box at all gets zeros.
    """
    filled = [_filled(image, num, generator).tensors() for image in images]
    return RankedBoxes(**{name: torch.stack([x[name] for x in filled]) for name in filled[0]})


def _filled(image: RankedBoxes, num: int, generator: torch.Generator | None) -> RankedBoxes:
    count, device = len(image.rows), image.rows.device
    if count == 0:
        # Joined to nothing, zeros still belong to the graph: data-parallel training wants a
        # gradient of every parameter, if only of zeros.
        zeros = {
            name: torch.cat([x, x.new_zeros((num, *x.shape[1:]))])
            for name, x in image.tensors().items()
            if name in _OF_BOXES
        }
        return replace(image, **zeros)  # type: ignore[arg-type]
    places = fill_positions(count, num, generator)
    first = places.diff(prepend=places.new_tensor([-1])) > 0
    return image.placed(places.to(device), first.to(device))
