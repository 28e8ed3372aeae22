"""How inputs are read and measured, and the lung masks that are given for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..data.images import IMAGE_SUFFIXES
from ..inference.inputs import Input
from ..volumes.sitk_files import VOLUME_SUFFIXES
from ..volumes.window import LUNG, Window


@dataclass(frozen=True)
class QuantificationOptions:
    """How inputs are read and measured.

    Attributes:
        window: of HU, and what 8-bit images are taken to have.
        lung: whether to look for the lung where no mask is given.
        lung_mask: a mask file, or a folder with a mask for each scan or slice, of its name.
        series: SeriesInstanceUID to take of a zip with several.
    """

    window: Window = LUNG
    lung: bool = True
    lung_mask: Path | None = None
    series: str | None = None

    def mask_of(self, name: str, is_scan: bool) -> Path | None:
        """Return the file of the lung mask given for a scan or slice.

        Raises:
            FileNotFoundError: there is none in the folder of masks.
            ValueError: there are several.
        """
        if self.lung_mask is None or not self.lung_mask.is_dir():
            return self.lung_mask
        suffixes = VOLUME_SUFFIXES if is_scan else IMAGE_SUFFIXES
        wanted = {f"{name}{suffix}" for suffix in suffixes}
        found = sorted(path for path in self.lung_mask.iterdir() if path.name in wanted)
        if not found:
            raise FileNotFoundError(
                f"{self.lung_mask}: holds no lung mask called {name}, with one of "
                f"{', '.join(suffixes)}"
            )
        if len(found) > 1:
            raise ValueError(
                f"{self.lung_mask}: holds {found[0].name} and {found[1].name}, expected one lung "
                f"mask called {name}"
            )
        return found[0]

    def masks(self, source: Input) -> list[Path]:
        """Return all files of lung masks given for an input; errors as `mask_of`."""
        named = [source.name] if source.is_scan else [path.stem for path in source.files]
        masks = (self.mask_of(name, source.is_scan) for name in named)
        return [path for path in masks if path is not None]
