"""Lesions of a DICOM series as a DICOM Segmentation, which PACS and viewers lay over the series.

Shapes: Z, Y, X are the axes of the volume. Frames have the rows and columns of the source's own
images, so each lies exactly on one of them, also in series with uneven steps.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from highdicom import UID as NewUID
from highdicom import AlgorithmIdentificationSequence
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from ..atomic_write import atomic_write
from ..figures import lesion_colour, rgb
from ..library_warnings import collected_warnings
from ..volumes.volume import Volume, nearest_axes
from ..wording import NOTICE
from .dicom_sources import as_one_series, read_sources, refer_to
from .label_map import check_labels
from .segment_codes import PRIVATE_SCHEME, segment_codes

_SERIES_NUMBER = 1000  # above those of scanners
_LONGEST_NAME = 58  # of the 64 characters of a label, with an id after it


def write_dicom_seg(
    path: str | os.PathLike,
    volume: Volume,
    labels: np.ndarray,
    lesion_classes: Sequence[str],
    about: Mapping[str, Any],
    lesions: Sequence[str] = (),
) -> None:
    """Write lesions as a binary DICOM Segmentation, one segment for each lesion.

    The number of a segment is the lesion's id. It is labelled with class and id ("GGO 3"), which
    are in its SegmentDescription ("GGO") and TrackingID ("lesion 3"), too, and coded by
    `segment_codes`. Without lesions there is a segment for each class, labelled with its name.

    Frames without lesions are left out, as viewers expect. A scan without any lesion has one empty
    frame for each segment, since a segmentation needs frames.

    The headers of the volume's DICOM files are read again.

    Args:
        path: the file to write.
        volume: the scan.
        labels: (Z, Y, X) uint8 or uint16, 0 background, k the lesion with the id k; without
            lesions the k-th class.
        lesion_classes: names of the model's classes.
        about: its "models" and "versions" (see Case) become the algorithm.
        lesions: the class of each lesion, in the order of ids from 1 on.

    Raises:
        ValueError: the volume is not from DICOM, labels do not fit it, or its files lack what a
            segmentation refers to, such as FrameOfReferenceUID.
    """
    check_labels(labels, volume)
    if not (volume.identifiers and volume.slice_files):
        raise ValueError(
            f"{volume.source}: no DICOM files with one slice each, which a DICOM segmentation "
            "refers to: use the NIfTI mask"
        )
    segments, version = _segments(lesion_classes, lesions, about), about["versions"]["ctmasknet"]
    found = bool(labels.any())
    used = labels if found else labels[:1]
    with _as_unusable(volume), collected_warnings():
        sources = read_sources(volume)
        originals = as_one_series(sources)
        segmentation = Segmentation(
            source_images=sources[: len(used)],
            further_source_images=sources[len(used) :],
            pixel_array=_as_stored(used, sources[0]),
            segmentation_type="BINARY",
            segment_descriptions=segments,
            series_instance_uid=NewUID(),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=NewUID(),
            instance_number=1,
            manufacturer="ctmasknet",
            manufacturer_model_name="ctmasknet",
            software_versions=version,
            device_serial_number=version,
            omit_empty_frames=found,
            content_label="LESIONS",
            content_description=NOTICE,
            series_description=f"Lesions. {NOTICE}",
            **_text_options(lesion_classes),
        )
        refer_to(segmentation, originals)
        with atomic_write(path) as partial:
            segmentation.save_as(partial)


@contextmanager
def _as_unusable(volume: Volume) -> Iterator[None]:
    """Turn errors of damaged or bare headers into one of ours."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{volume.source}: no DICOM segmentation can refer to this series ({error}): use the "
            "NIfTI mask, or the original series"
        ) from None


def _segments(
    lesion_classes: Sequence[str], lesions: Sequence[str], about: Mapping[str, Any]
) -> list[SegmentDescription]:
    models = {x["role"]: f"{x['name']} (SHA-256 {x['sha256']})" for x in about["models"]}
    algorithm = AlgorithmIdentificationSequence(
        name="ctmasknet",
        family=codes.DCM.ArtificialIntelligence,
        version=about["versions"]["ctmasknet"],
        parameters=models,
    )
    colours = {x: rgb(lesion_colour(index)) for index, x in enumerate(lesion_classes)}
    known = dict(zip(lesion_classes, segment_codes(lesion_classes), strict=True))
    segments = []
    for number, name in enumerate(lesions or lesion_classes, start=1):
        code = known[name]
        segment = SegmentDescription(
            segment_number=number,
            segment_label=f"{name[:_LONGEST_NAME]} {number}" if lesions else name,
            # Of every class, whatever its name: lesion models are trained on what is abnormal,
            # and a narrower category would say of unknown classes what nobody knows.
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=Code(code.value, code.scheme, code.meaning),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            anatomic_regions=[code.region] if code.region else None,
            display_color=CIELabColor.from_rgb(*colours[name]),
            tracking_id=f"lesion {number}" if lesions else None,
            tracking_uid=NewUID() if lesions else None,
        )
        segment.SegmentDescription = name
        segments.append(segment)
    return segments


def _text_options(lesion_classes: Sequence[str]) -> dict[str, Any]:
    """Return the character set, if the source's may lack letters of the names, and our scheme."""
    options: dict[str, Any] = {}
    if not all(name.isascii() for name in lesion_classes):
        options["specific_character_set"] = "ISO_IR 192"  # UTF-8
    if any(code.is_private for code in segment_codes(lesion_classes)):
        scheme = CodingSchemeIdentificationItem(PRIVATE_SCHEME, "private codes of ctmasknet")
        options["coding_schemes"] = [scheme]
    return options


def _as_stored(labels: np.ndarray, header: Dataset) -> np.ndarray:
    """Turn labels (Z, Y, X) of an upright volume to the rows and columns of its files: a view."""
    row, column = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    order = nearest_axes(np.column_stack([row, column, np.cross(row, column)]))
    along_row, along_column = order.index(0), order.index(1)  # 0 is the patient's x, 1 the y
    if along_row == 1:
        labels = labels.transpose(0, 2, 1)
    down, right = (-1 if cosine < 0 else 1 for cosine in (column[along_column], row[along_row]))
    return labels[:, ::down, ::right]
