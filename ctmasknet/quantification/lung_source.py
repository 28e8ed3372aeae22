"""Where the lung of an input comes from (--lung): a method, or masks in files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.images import IMAGE_SUFFIXES
from ..data.window import Window
from ..inference.inputs import Input
from ..lung import LungMask, find_lung
from ..volumes.sitk_files import VOLUME_SUFFIXES
from ..volumes.volume import Volume
from .lung_files import read_lung_image, read_lung_mask
from .lungmask_package import apply_lungmask, require_lungmask

THRESHOLD, LUNGMASK = "threshold", "lungmask"


@dataclass(frozen=True)
class LungSource:
    """A method, or masks in files; neither if the lung is not wanted."""

    method: str = THRESHOLD  # or LUNGMASK, or "" for given masks and for no lung
    path: Path | None = None  # a file, or a folder with a mask for each scan or slice by name

    @classmethod
    def parse(cls, text: str) -> "LungSource":
        """Parse "threshold", "lungmask" or the path of lung masks.

        Raises a FileNotFoundError if it is none of these; for lungmask as `require_lungmask`.
        """
        if text == LUNGMASK:
            require_lungmask()
        if text in (THRESHOLD, LUNGMASK):
            return cls(text)
        if not Path(text).exists():
            raise FileNotFoundError(
                f"--lung {text}: no such lung mask; expected {THRESHOLD}, {LUNGMASK}, or a file or "
                "folder of lung masks"
            )
        return cls("", Path(text))

    def __bool__(self) -> bool:
        return bool(self.method or self.path)

    def __str__(self) -> str:
        return self.method or str(self.path or "no")

    def mask_of(self, name: str, is_scan: bool) -> Path | None:
        """Return the file of the lung mask given for a scan or slice.

        Raises a FileNotFoundError where a folder of masks holds none of the name, a ValueError
        where it holds several.
        """
        if self.path is None or not self.path.is_dir():
            return self.path
        suffixes = VOLUME_SUFFIXES if is_scan else IMAGE_SUFFIXES
        wanted = {f"{name}{suffix}" for suffix in suffixes}
        found = sorted(path for path in self.path.iterdir() if path.name in wanted)
        if not found:
            raise FileNotFoundError(
                f"{self.path}: holds no lung mask called {name}, with one of {', '.join(suffixes)}"
            )
        if len(found) > 1:
            raise ValueError(
                f"{self.path}: holds {found[0].name} and {found[1].name}, expected one lung mask "
                f"called {name}"
            )
        return found[0]

    def masks(self, source: Input) -> list[Path]:
        """Return all files of lung masks given for an input; errors as `mask_of`."""
        named = [source.name] if source.is_scan else [path.stem for path in source.files]
        masks = (self.mask_of(name, source.is_scan) for name in named)
        return [path for path in masks if path is not None]

    def of_scan(self, name: str, volume: Volume) -> LungMask:
        """Find or read the lung of a scan.

        Errors as `mask_of`, `find_lung` and `read_lung_mask`.
        """
        mask = self.mask_of(name, is_scan=True)
        if mask is not None:
            return read_lung_mask(mask, volume)
        return self._find(volume.hu, volume.spacing if volume.measured else None)

    def of_slice(self, name: str, image: np.ndarray, window: Window) -> LungMask:
        """Find or read the lung of a slice (H, W, 3) uint8, taken to have a window of HU.

        Errors as `mask_of`, `find_lung` and `read_lung_image`.
        """
        mask = self.mask_of(name, is_scan=False)
        if mask is not None:
            return read_lung_image(mask, image.shape[:2])
        return self._find(window.to_hu(image[..., 1])[np.newaxis], None)

    def _find(self, hu: np.ndarray, spacing: tuple[float, float, float] | None) -> LungMask:
        return apply_lungmask(hu) if self.method == LUNGMASK else find_lung(hu, spacing)
