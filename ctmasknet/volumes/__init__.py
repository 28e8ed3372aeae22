"""CT volumes and their files: DICOM, NIfTI, NRRD, MetaImage and image stacks."""

from ..data.window import Window
from .formats import VOLUME_FORMATS, ReadOptions, VolumeFormat
from .volume import Volume, upright_volume
from .volume_files import read_volume, write_volume

__all__ = [
    "VOLUME_FORMATS",
    "ReadOptions",
    "Volume",
    "VolumeFormat",
    "Window",
    "read_volume",
    "upright_volume",
    "write_volume",
]
