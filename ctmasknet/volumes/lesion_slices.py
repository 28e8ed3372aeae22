"""Masks of scans -> the COCO file of lesions that lies beside their slices.

Shapes: Z, Y, X are the axes of a scan, upright.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data.classes import MaskValues
from ..data.lesion_masks import lesion_categories, lesion_instances
from ..data.mask_rule import ALL_CLASSES, BACKGROUND
from ..data.scan_lesions import LESION_ID, lesion_ids
from ..errors import ErrorPolicy
from ..lung import Box
from ..wording import counted
from .mask_files import MaskFiles, ScanMask, read_scan_mask
from .volume import Volume

SCANS = "scans"  # key of the scans' layouts in the COCO dictionary


class LesionSlices:
    """Gathers the slices and lesions of scans that are cut into slices."""

    def __init__(self, masks: MaskFiles | None, values: MaskValues | None):
        """Begin without any scan.

        Args:
            masks: where masks are looked for; None where each scan is given its own.
            values: the meaning of values in masks; None leaves it to segmentations' labels.
        """
        self._masks, self._meaning = masks, values
        self._images: list[dict] = []
        self._lesions: list[dict] = []  # with "class", the name, in the place of the category
        self._scans: list[dict] = []
        self._values: dict[str, int] = {}  # class -> the first value that stands for it

    def read(self, name: str, mask: Path | None, volume: Volume) -> ScanMask:
        """Read the mask of a scan: `mask`, or the one of its name or series.

        A FileNotFoundError or ValueError: see `MaskFiles.find` and `read_scan_mask`.
        """
        if mask is None:
            assert self._masks is not None
            mask = self._masks.find(name, volume)
        return read_scan_mask(mask, volume, self._meaning)

    def add(
        self,
        scan: str,
        patient: str,
        volume: Volume,
        mask: ScanMask,
        box: Box,
        files: Sequence[tuple[int, str]],
        errors: ErrorPolicy,
    ) -> None:
        """Add a scan.

        Args:
            scan, patient: as they are called in the data set.
            volume, mask: its CT and its lesions.
            box: of all its slices that is kept.
            files: z and file of the slices that are kept.
            errors: lesions that are not kept are noted.
        """
        x0, y0, x1, y1 = box
        first, found, kept = len(self._images), [], 0
        for z, file in files:
            image = {
                "id": len(self._images) + 1,
                "file_name": file,
                "height": y1 - y0,
                "width": x1 - x0,
                "patient": patient,
                "scan": scan,
                "slice_index": z,
            }
            if volume.measured:
                image["spacing"] = list(volume.spacing)
            self._images.append(image)
            labels = mask.labels[z, y0:y1, x0:x1]
            for x in lesion_instances(labels, mask.values, ALL_CLASSES, 0) if labels.any() else ():
                found.append({"image_id": image["id"], **x})
                kept += x["area"]
        numbers = lesion_ids(self._images[first:], found)
        classes = mask.values.classes(ALL_CLASSES)
        for lesion, number in zip(found, numbers, strict=True):
            lesion |= {"class": classes[lesion.pop("category_id") - 1], LESION_ID: number}
        self._lesions += found
        for value, name in sorted(mask.values.names.items()):
            if name != BACKGROUND:
                self._values.setdefault(name, value)
        self._scans.append({"scan": scan, **mask.layout.to_json(), "box": list(box)})
        lesion_values = [v for v, name in mask.values.names.items() if name != BACKGROUND]
        if lost := int(np.isin(mask.labels, lesion_values).sum()) - kept:
            errors.note(
                f"{scan}: {counted(lost, 'lesion voxel')} outside the field of view left out"
            )

    def coco(self) -> dict:
        """Return the COCO dictionary of all scans; ids start at 1, in the order of the scans."""
        names = [*self._values]
        values = [*self._values.values()]
        if len(set(values)) < len(values):  # of segmentations that number their segments otherwise
            values = [*range(1, len(names) + 1)]
        lesions = [
            {"id": number, "category_id": names.index(x["class"]) + 1, **x}
            for number, x in enumerate(self._lesions, start=1)
        ]
        for lesion in lesions:
            del lesion["class"]
        return {
            "info": {
                "description": "CT lesions",
                "mask_type": ALL_CLASSES,
                "min_area": 0,
                "mask_values": dict(zip(names, values, strict=True)),
            },
            "images": self._images,
            "annotations": lesions,
            "categories": lesion_categories(names),
            SCANS: self._scans,
        }

    def describe_unused(self, errors: ErrorPolicy) -> None:
        """Note masks that belong to none of the scans."""
        for path in self._masks.unused if self._masks else ():
            errors.note(f"{path}: a mask of none of these scans: left out")
