"""Files -> dataset dicts: images, lesion masks, image lists, CT volumes, phantoms, registration."""

from .volume import Volume
from .volume_files import read_volume, write_volume
from .window import Window

__all__ = ["Volume", "Window", "read_volume", "write_volume"]
