"""Lesions and detections of a data set, as metrics take them.

Shapes: I images, K lesion classes (in the order of their category ids); one image has G lesions
and D detections.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO

from .prediction_table import portable_names


@dataclass(frozen=True)
class LesionImage:
    """One image: what is there, and what was found.

    Attributes:
        image_id: as in the files.
        file_name: as in the truth.
        patient, scan: "" where the truth does not tell.
        height, width: in pixels.
        true_masks: G compressed RLEs; crowd annotations are left out.
        true_classes: (G,) int64 in 0..K-1.
        true_areas: (G,) float64, in pixels, as the truth states them.
        found_masks: D compressed RLEs by falling score; none at all where there are boxes only.
        found_classes: (D,) int64 in 0..K-1.
        scores: (D,) float64, falling; equal scores keep the order of the files.
    """

    image_id: int | str
    file_name: str
    patient: str
    scan: str
    height: int
    width: int
    true_masks: list[dict]
    true_classes: np.ndarray
    true_areas: np.ndarray
    found_masks: list[dict]
    found_classes: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class LesionSet:
    """Truth and detections of a data set.

    Attributes:
        class_names: K names.
        images: I images by name, with those that have no lesion and no detection.
        truth: annotations with ids from 1, masks as compressed RLE, areas and boxes.
        detections: in COCO's result format, in the order of the files, with boxes.
        detection_paths: the files of the detections.
        masks: whether detections have masks, or would have them if there were any.
    """

    class_names: tuple[str, ...]
    images: tuple[LesionImage, ...]
    truth: COCO
    detections: list[dict]
    detection_paths: tuple[Path, ...]
    masks: bool

    @property
    def patients(self) -> list[str]:
        """I names; an image without a patient is a patient of its own."""
        return [image.patient or image.file_name for image in self.images]

    @property
    def has_patients(self) -> bool:
        """Whether the patient of any image is known."""
        return any(image.patient for image in self.images)

    def fingerprint(self) -> str:
        """Return a SHA-256 of the images' names, sizes and patients and of all annotations.

        It is the same wherever the data set lies and whatever its ids are.
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
        content = json.dumps([self.class_names, sorted(rows, key=json.dumps)])
        return hashlib.sha256(content.encode()).hexdigest()
