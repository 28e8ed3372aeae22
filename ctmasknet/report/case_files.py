"""A case -> the files of its folder.

result.json, lesions.csv and report.html of every case, and as the model allows ranked_boxes.csv;
of a scan outlines.csv, lesions.nii.gz, lesion_ids.nii.gz and, where its source is DICOM,
lesions.seg.dcm; of slices masks/ and overlays/; beside label maps labels.csv, with their classes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from ..data.images import read_slice
from ..extras import require
from ..inference.inputs import numbered_apart
from ..inference.predictions import SlicePrediction
from ..quantification.case import Case, KeySlice
from ..quantification.label_map import (
    lesion_volume,
    write_label_names,
    write_nifti_mask,
    write_slice_masks,
)
from ..wording import NOTICE, counted
from .overlay import draw_instances
from .picture_text import text_picture
from .report import write_report
from .tables import write_lesions, write_outlines, write_ranked_boxes, write_result

RESULT, REPORT = "result.json", "report.html"
LESIONS, OUTLINES, RANKED_BOXES = "lesions.csv", "outlines.csv", "ranked_boxes.csv"
NIFTI_MASK, NIFTI_IDS, DICOM_SEG = "lesions.nii.gz", "lesion_ids.nii.gz", "lesions.seg.dcm"
_MARGIN = 4  # pixels around a title
MASKS, OVERLAYS, LABELS = "masks", "overlays", "labels.csv"


def write_case(
    folder: Path, case: Case, key_slices: Sequence[KeySlice], viewer: bool = True
) -> Case:
    """Write a case's files into a folder, made if missing; return it, noting files left out.

    `viewer` puts all slices of a scan into its report.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if case.volume is None:
        names = names_apart([Path(prediction.source).name for prediction in case.slices])
        if case.slices[0].has_masks:
            write_slice_masks(folder / MASKS, case.slices, names)
        _write_overlays(folder / OVERLAYS, case, names)
    elif case.slices[0].has_masks:
        case = _write_volume_masks(folder, case)
    if case.slices[0].has_masks:
        write_label_names(folder / LABELS, case.lesion_classes)
    if case.lesions is None:
        write_outlines(folder / LESIONS, case)
    else:
        write_lesions(folder / LESIONS, case.lesions)
        write_outlines(folder / OUTLINES, case)
    if case.image_classes and all(x.ranked_boxes for x in case.slices if x.classification):
        write_ranked_boxes(folder / RANKED_BOXES, case)
    write_report(folder / REPORT, case, key_slices, viewer)
    write_result(folder / RESULT, case)
    return case


def _write_volume_masks(folder: Path, case: Case) -> Case:
    assert case.volume is not None
    ids, classes = lesion_volume(case.slices, case.quantities.lesion_ids), case.lesion_classes
    lesions = [x.lesion_class for x in case.lesions or ()]
    labels = np.array([0, *(classes.index(name) + 1 for name in lesions)], np.uint8)[ids]
    write_nifti_mask(folder / NIFTI_MASK, case.volume, labels, classes)
    write_nifti_mask(folder / NIFTI_IDS, case.volume, ids)
    if "SeriesInstanceUID" not in case.volume.identifiers:
        return case  # no DICOM: there is nothing that a DICOM SEG could refer to
    require("ct")
    from ..quantification.dicom_seg import write_dicom_seg
    from ..quantification.segment_codes import private_code_notes

    try:
        write_dicom_seg(folder / DICOM_SEG, case.volume, ids, classes, case.about, lesions)
    except ValueError as error:
        return replace(case, notes=(*case.notes, f"No DICOM SEG: {error}"))
    return replace(case, notes=(*case.notes, *private_code_notes(classes)))


def _write_overlays(folder: Path, case: Case, names: Sequence[str]) -> None:
    folder.mkdir(exist_ok=True)
    files = case.files or [prediction.source for prediction in case.slices]
    for prediction, name, file in zip(case.slices, names, files, strict=True):
        image = read_slice(file)
        picture = draw_instances(image, prediction.instances, prediction.lesion_classes)
        Image.fromarray(_under_title(picture, _title(prediction))).save(folder / f"{name}.png")


def _under_title(picture: np.ndarray, title: str) -> np.ndarray:
    """Put a title and the notice on a black strip above a picture."""
    text = text_picture(f"{title}\n{NOTICE}", (255, 255, 255), picture.shape[1] - 2 * _MARGIN)
    strip = np.pad(text, ((_MARGIN, _MARGIN), (_MARGIN, 0), (0, 0)))
    missing = picture.shape[1] - strip.shape[1]
    return np.vstack([np.pad(strip, ((0, 0), (0, missing), (0, 0))), picture])


def _title(prediction: SlicePrediction) -> str:
    title = counted(len(prediction.instances), "lesion")
    found = prediction.classification
    if found is not None:
        title += f", {found.image_class} {found.probabilities.max():.0%}"
    return title


def names_apart(files: Sequence[str]) -> list[str]:
    """Stems; with the suffix where two files differ by that alone."""
    stems = Counter(Path(file).stem for file in files)
    return numbered_apart(f if stems[Path(f).stem] > 1 else Path(f).stem for f in files)
