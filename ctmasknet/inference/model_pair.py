"""A classifier and a lesion model, perhaps the same, run side by side.

Shapes: slices of H x W pixels.
"""

import os
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import Any

import numpy as np

from ..data.channels import GREY, require_unlike
from ..data.images import check_slice
from ..data.window import LUNG, Window
from ..modeling.mask_head import MASK_CUT
from .fields import Fields, FieldsOfView
from .loaded_model import LoadedModel
from .postprocessing import postprocess_slice
from .predictions import SlicePrediction

# What each of the two reads, the classifier first.
Pair = tuple[np.ndarray, np.ndarray]  # images (H, W, 3) of the same slice in their windows
PairedSlice = tuple[Pair, str, Fields]  # with the slice's file, "" if it has none


class ModelPair:
    """Two models that see each its own window and field of view.

    Attributes:
        classifier, lesions: a CT-Mask-Net gives classes, a model with masks lesions; may be one.
        windows: of HU, of the two.
        channels: what the three channels of their images hold (`data.channels`), of the two.
        fields_of_view: of the two.
    """

    def __init__(
        self, classifier: LoadedModel, lesions: LoadedModel, window: str | Window | None = None
    ):
        """Pair them; `window` is of both, None takes each model's own."""
        self.classifier, self.lesions = classifier, lesions
        own, other = (
            Window.parse(window or model.spec.window or LUNG) for model in (classifier, lesions)
        )
        self.windows = own, other
        self.channels = classifier.channels, lesions.channels
        self.fields_of_view = FieldsOfView(classifier.field_of_view, lesions.field_of_view)

    def check_channels(self, image: np.ndarray, source: str) -> None:
        """Raise a ValueError for a slice (H, W, 3) with other channels than the models read.

        A file tells what it has; an image without one must differ from grey where they do.
        """
        for channels in dict.fromkeys(self.channels):
            if source and os.path.isfile(source):
                check_slice(source, channels)
            else:
                require_unlike(image, channels)

    def run(
        self,
        slices: Iterable[PairedSlice],
        batch_size: int,
        min_score: float,
        pixel_mm: tuple[float, float] | None,
    ) -> Iterator[SlicePrediction]:
        """Predict slices as they come, in order, with few more than a batch in memory.

        Lesions that score below `min_score` are left out; `pixel_mm` is (height, width) of a pixel.
        """
        # Only images of one size share a batch: padding to the largest would change the others.
        for (_, fields), alike in groupby(slices, key=lambda x: (x[0][0].shape, x[2])):
            while batch := [x[:2] for x in islice(alike, batch_size)]:
                predictions = self._run_batch(batch, fields, min_score, pixel_mm)
                batch.clear()  # before the next ones come
                yield from predictions

    def _run_batch(
        self,
        slices: list[tuple[Pair, str]],
        fields: Fields,
        min_score: float,
        pixel_mm: tuple[float, float] | None,
    ) -> list[SlicePrediction]:
        pairs, sources = zip(*slices, strict=True)
        images, own = zip(*pairs, strict=True)
        outputs = self.classifier(images, sources, fields[0])
        lesions = outputs
        if self.lesions is not self.classifier:
            lesions = self.lesions(own, sources, fields[1])
        for output, found in zip(outputs, lesions, strict=True):
            output |= {"instances": found["instances"], "lesion_field": found["field"]}
        models = self.classifier, self.lesions
        return [
            postprocess_slice(output, image.shape[:2], *models, min_score, pixel_mm, source)
            for output, image, source in zip(outputs, images, sources, strict=True)
        ]

    def describe(self) -> dict[str, Any]:
        """Return models and their settings in plain types, for results and reports."""
        roles = {"classes": self.classifier, "lesions": self.lesions}
        if self.lesions is self.classifier:
            classifies = self.classifier.image_classes
            roles = {"lesions and classes" if classifies else "lesions": self.classifier}
        settings: dict[str, Any] = {
            "field_of_view": str(self.fields_of_view),
            "window": " and ".join(dict.fromkeys(map(str, self.windows))),
            "lesion_nms_iou": self.lesions.spec.cfg.MODEL.ROI_HEADS.NMS_THRESH_TEST,
        }
        if set(self.channels) != {GREY}:
            settings["channels"] = " and ".join(dict.fromkeys(self.channels))
        if self.lesions.has_masks:
            settings["mask_cut"] = MASK_CUT
        if self.classifier.reads_boxes:
            ranked = self.classifier.spec.cfg.MODEL.RANKED_BOXES
            settings["ranked_boxes"] = ranked.NUM
            settings["ranked_nms_iou"] = ranked.NMS_THRESH
        models = [{"role": role, **model.spec.describe()} for role, model in roles.items()]
        return {"models": models, "settings": settings}
