"""The class of lesion pixels by their density: ground glass is thinner than consolidation."""

from collections.abc import Sequence

import torch
from torchvision.transforms.functional import gaussian_blur

from ..data.window import Window

_SIGMA, _KERNEL = 3.0, 13  # in pixels of the input: noise goes, and so do vessels in ground glass
_SOFTNESS = 50.0  # HU beyond a cut where a class has nearly three quarters


class DensityClasses:
    """Cuts in HU between K classes, of which each is denser than the one before."""

    def __init__(self, cuts: Sequence[float], classes: int, window: Window):
        """Take the cuts.

        Args:
            cuts: K - 1 rising numbers in HU.
            classes: K.
            window: of the images.

        Raises:
            ValueError: other cuts, or one that lies outside the window.
        """
        rising = all(low < high for low, high in zip(cuts, cuts[1:], strict=False))
        shown = all(window.low < cut < window.high for cut in cuts)
        if len(cuts) != classes - 1 or not rising or not shown:
            raise ValueError(
                f"MODEL.SEM_SEG_HEAD.HU_CUTS is {list(cuts)}, expected {classes - 1} rising HU "
                f"between {classes} classes, within INPUT.WINDOW ({window.low:g} to "
                f"{window.high:g} HU), or []"
            )
        self.cuts, self.window = tuple(cuts), window

    def __call__(self, probs: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """Share each pixel's probability of any lesion out among the classes by its density.

        Args:
            probs: (K + 1, H, W), background last.
            image: (channels, H, W), grey values of 0 to 255; the middle one is in the window.

        Returns:
            (K + 1, H, W), background as it was; the denser of two classes has half at their cut.
        """
        size = [min(_KERNEL, 2 * ((side - 1) // 2) + 1) for side in image.shape[1:]]
        middle = len(image) // 2
        grey = gaussian_blur(image[middle : middle + 1].float(), size[::-1], [_SIGMA])
        hu = self.window.low + grey * (self.window.width / 255)
        denser = [torch.sigmoid((hu - cut) / _SOFTNESS) for cut in self.cuts]
        bounds = torch.cat([torch.ones_like(hu), *denser, torch.zeros_like(hu)])
        shares = bounds[:-1] - bounds[1:]
        return torch.cat([probs[:-1].sum(dim=0) * shares, probs[-1:]])
