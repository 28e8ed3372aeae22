"""Lesions and detections of a data set, as metrics take them.

Shapes: I images, K lesion classes (in the order of their category ids); one image has G lesions
and D detections.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO

from .prediction_table import portable_names


@dataclass(frozen=True)
class LesionImage:
    """One image: what is there, and what was found."""

    image_id: int | str
    file_name: str
    patient: str  # "" where the truth does not tell
    scan: str  # likewise
    slice_index: int | None  # its place in the scan, from the feet to the head; None: unknown
    height: int
    width: int
    true_masks: list[dict]  # G compressed RLEs, without crowds
    true_classes: np.ndarray  # (G,) int64 in 0..K-1
    true_lesions: list[str]  # G ids of lesions in three dimensions; "" where the truth has none
    true_areas: np.ndarray  # (G,) float64, in pixels, as the truth states them
    found_masks: list[dict]  # D compressed RLEs by falling score; none where there are boxes only
    found_classes: np.ndarray  # (D,) int64 in 0..K-1
    scores: np.ndarray  # (D,) float64, falling; equal scores keep the order of the files


@dataclass(frozen=True)
class LesionSet:
    """Truth and detections of a data set."""

    class_names: tuple[str, ...]
    images: tuple[LesionImage, ...]  # by name; also those without lesion and detection
    truth: COCO  # annotations with ids from 1, masks as compressed RLE, areas and boxes
    detections: list[dict]  # in COCO's result format, in the order of the files, with boxes
    detection_paths: tuple[Path, ...]
    masks: bool  # whether detections have masks, or would have them if there were any

    @property
    def patients(self) -> list[str]:
        """I names; an image without a patient is a patient of its own."""
        return [image.patient or image.file_name for image in self.images]

    @property
    def has_patients(self) -> bool:
        """Whether the patient of any image is known."""
        return any(image.patient for image in self.images)

    def fingerprint(self) -> str:
        """Return a SHA-256 of all images' names, sizes and patients and of all annotations.

        It does not depend on where the data set lies, nor on its ids of images and classes.
        """
        names = portable_names([image.file_name for image in self.images])
        classes = {x["id"]: x["name"] for x in self.truth.dataset["categories"]}
        rows = [
            [name, image.height, image.width, image.patient]
            + sorted(
                [classes[x["category_id"]], x["iscrowd"], x["segmentation"]["counts"]]
                for x in self.truth.imgToAnns[image.image_id]
            )
            for name, image in zip(names, self.images, strict=True)
        ]
        content = json.dumps([sorted(self.class_names), sorted(rows, key=json.dumps)])
        return hashlib.sha256(content.encode()).hexdigest()
