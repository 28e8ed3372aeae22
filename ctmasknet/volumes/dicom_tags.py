"""Tags of DICOM files as other programs write them, read by pydicom."""

import itertools
from collections.abc import Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from .dicom_pixel_data import PixelData

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Enhanced CT has these in functional groups.
_IN_GROUPS = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
}
_PIXELS = 0x7FE0  # group of tags
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def read_tags(stream: BinaryIO, path: Path, tags: Sequence[str]) -> tuple["Dataset", PixelData]:
    """Read the tags, also of a file without preamble; those of functional groups as its own.

    Args:
        stream: the file, open as long as the pixels are asked about.
        path: its path, for messages.
        tags: names.

    Returns:
        The dataset, and its pixels, of which nothing is read.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    found = PixelData()
    read: Any = partial(
        pydicom.filereader.read_partial,
        stop_when=found.is_here,
        specific_tags=_numbers_of(tuple(tags)),
    )
    try:
        dataset = read(found.watch(stream, path))
    except InvalidDicomError:
        dataset = read(found.watch(stream, path), force=True)
        if not (dataset.get("SOPClassUID") and dataset.get("Modality")):
            raise
    lift_groups(dataset)
    mend_chinese(dataset)
    return dataset, found


@cache
def _numbers_of(names: tuple[str, ...]) -> list[Any]:
    """Return the tags of names and of functional groups; looking them up takes a file's time."""
    from pydicom.tag import Tag

    return [Tag(x) for x in (*names, *_GROUPS, *itertools.chain(*_IN_GROUPS.values()))]


def mend_chinese(dataset: "Dataset") -> None:
    """Take texts in ISO 2022 IR 58 as GB18030, which contains it.

    pydicom leaves its escape sequences in the texts, or takes none for Latin letters.
    """
    if "ISO 2022 IR 58" not in np.atleast_1d(dataset.get("SpecificCharacterSet")):
        return
    for tag in list(dataset.keys()):
        raw: Any = dataset.get_item(tag)
        if isinstance(raw.value, bytes) and tag.group != _PIXELS:
            dataset[tag] = raw._replace(value=raw.value.replace(b"\x1b$)A", b""))
    implicit, little_endian = dataset.original_encoding
    dataset.set_original_encoding(implicit, little_endian, "GB18030")
    dataset.SpecificCharacterSet = "GB18030"


def lift_groups(dataset: "Dataset") -> None:
    """Give a dataset the tags that enhanced CT of one frame has in functional groups."""
    for groups in (dataset.get(name) for name in _GROUPS):
        for name, names in _IN_GROUPS.items():
            for item in (groups[0].get(name) if groups else None) or ():
                for tag in names:
                    if tag in item and tag not in dataset:
                        dataset[tag] = item[tag]


def read_texts(dataset: "Dataset", names: Iterable[str]) -> dict[str, str]:
    """Return the values that there are as texts, whether they can be parsed or not."""
    texts = {}
    for name in names:
        try:
            text = str(dataset.get(name) or "").strip()
        except ValueError:  # no number, say
            text = str(dataset.get_item(name).value)
        if text:
            texts[name] = text
    return texts


def read_numbers(dataset: "Dataset", tag: str) -> np.ndarray:
    """Return the finite numbers of a tag (N,), none if it is missing or cannot be parsed.

    A decimal comma, which DICOM does not allow, can mean one thing alone; but GDCM, which applies
    the rescale tags, does not know it.
    """
    try:
        value = dataset.get(tag)
    except ValueError:
        value = dataset.get_item(tag).value
    value = value.decode("latin-1").split("\\") if isinstance(value, bytes) else value
    parts = np.atleast_1d(np.array([] if value in (None, "") else value, dtype=object))
    texts = [str(part).strip(" \0") for part in parts]
    if tag not in ("RescaleSlope", "RescaleIntercept"):
        texts = [text.replace(",", ".") for text in texts]
    try:
        numbers = np.array(texts, float)
    except ValueError:
        return np.empty(0)
    return numbers if np.isfinite(numbers).all() else np.empty(0)
