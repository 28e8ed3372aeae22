"""CT volumes and their files: DICOM, NIfTI, NRRD, MetaImage and image stacks."""

from .volume import Volume
from .volume_files import read_volume, write_volume
from .window import Window

__all__ = ["Volume", "Window", "read_volume", "write_volume"]
