"""What a classifier and a lesion model see of a slice or scan."""

from dataclasses import dataclass

import numpy as np

from ..data.window import Window
from ..lung import Box, FieldOfView, LungMask, find_lung

Fields = tuple[Box | None, Box | None]  # of the classifier and of the lesion model; None is all


@dataclass(frozen=True)
class FieldsOfView:
    """The fields of view of two models, perhaps the same."""

    classifier: FieldOfView
    lesions: FieldOfView

    def __str__(self) -> str:
        return " and ".join(dict.fromkeys((self.classifier.kind, self.lesions.kind)))

    def need_lung(self) -> bool:
        """Return whether one of them is the lung's."""
        return "lung" in (self.classifier.kind, self.lesions.kind)

    def of_slice(
        self, image: np.ndarray, pixel_mm: tuple[float, float] | None, window: Window
    ) -> Fields:
        """Find the boxes in an 8-bit slice (H, W, 3) of a window."""
        if self.classifier.kind == self.lesions.kind == "image":
            return None, None
        hu = window.to_hu(image[..., 1])[np.newaxis]
        return self._of_hu(hu, pixel_mm and (1.0, *pixel_mm), None)

    def of_scan(
        self,
        hu: np.ndarray,
        spacing: tuple[float, float, float] | None,
        lung: LungMask | None,
        search: bool,
    ) -> tuple[Fields, LungMask | None]:
        """Find the boxes of a scan.

        Args:
            hu, spacing: as `find_lung` takes them.
            lung: None if it is not known.
            search: whether it is looked for then, where it is needed.

        Returns:
            The boxes; the lung that was given or found.
        """
        if lung is None and self.need_lung():
            if search:
                lung = _lung_if_found(hu, spacing)
            if lung is None:
                nothing = LungMask(np.zeros(hu.shape, bool), "", grows=False)
                return self._of_hu(hu, spacing, nothing), None
        return self._of_hu(hu, spacing, lung), lung

    def _of_hu(
        self, hu: np.ndarray, spacing: tuple[float, float, float] | None, lung: LungMask | None
    ) -> Fields:
        own = self.classifier.find(hu, spacing, lung)
        same = self.classifier == self.lesions
        return own, own if same else self.lesions.find(hu, spacing, lung)


def _lung_if_found(hu: np.ndarray, spacing: tuple[float, float, float] | None) -> LungMask | None:
    try:
        return find_lung(hu, spacing)
    except ValueError:
        return None
