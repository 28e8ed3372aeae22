"""Slices and scans -> predictions."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from tqdm import tqdm

from ..data.window import LUNG, Window
from ..evaluation.aggregation import Rule, parse_rule
from ..lung import Box, LungMask, has_lung
from ..modeling.mask_head import MASK_CUT
from ..volumes.volume import Volume
from ..volumes.volume_files import read_volume
from .fields import Fields, FieldsOfView
from .inputs import Source, is_slice, read_source
from .loaded_model import LoadedModel
from .model_spec import DEMO, demo_folders, find_model
from .postprocessing import postprocess_slice, score_map
from .predictions import Classification, ScanPrediction, SlicePrediction

Prediction = SlicePrediction | ScanPrediction
# Of the classifier and of the lesion model:
_Pair = tuple[np.ndarray, np.ndarray]  # images (H, W, 3) of the same slice in their windows
_Slice = tuple[_Pair, str, Fields]


class Predictor:
    """A model with its weights, ready for slices of any size and for scans.

    Lesions and image class may come from two models: a CT-Mask-Net gives classes and boxes without
    masks, a lesion model masks without classes. Nothing changes after construction: threads may
    share a Predictor.

    Attributes:
        lesion_classes: names of the lesion classes.
        image_classes: names of the image classes; empty without a CT-Mask-Net.
        has_masks: whether lesions have masks.
        device, min_score, batch_size: as given.
        precision: of the classifier's convolutions and matrices.
        rule: from the slices' classes to the scan's.
        windows: of HU, of the classifier and of the lesion model: those of their training, or the
            papers' where their files do not tell, or the one that was given.
        fields_of_view: what the two see of a slice.
        window: the lesion model's, also what 8-bit images are taken to have.
    """

    def __init__(
        self,
        config_or_name: CfgNode | str | Path,
        weights: str | Path | None = None,
        device: str = "auto",
        *,
        lesion_model: CfgNode | str | Path | None = None,
        lesion_weights: str | Path | None = None,
        min_score: float | None = None,
        aggregation: str | None = None,
        batch_size: int = 8,
        precision: str | None = None,
        field_of_view: str | None = None,
        window: str | Window | None = None,
        opts: Sequence[str] = (),
    ):
        """Load one model, or two.

        Args:
            config_or_name, weights: see `find_model`; or "demo", both models of `ctmasknet demo`.
            device: "auto" takes a GPU if there is one; or "cpu", "cuda", "cuda:1", ...
            lesion_model, lesion_weights: the model that lesions come from, if it is another one.
            min_score: in 0..1; None takes TEST.PIXEL_SCORE_THRESH of the lesions' model.
            aggregation: see `evaluation.aggregation.parse_rule`; None takes TEST.AGGREGATION, or
                "mean" if that is empty.
            batch_size: slices that go through the network, and are in memory, at the same time.
            precision: of convolutions and matrices, as MODEL.PRECISION: "auto" chooses by hardware;
                None takes each config's own.
            field_of_view: of both models, as INPUT.FIELD_OF_VIEW; None takes each config's own.
            window: of HU for both models; None takes each model's own.
            opts: config overrides (KEY VALUE pairs) of `config_or_name`.

        Raises:
            FileNotFoundError, ValueError: a model that is not there, or does not fit its weights.
        """
        if config_or_name == DEMO:
            config_or_name, demo_lesions = demo_folders()
            lesion_model = lesion_model or demo_lesions
        self.device = _device(device)
        spec = find_model(config_or_name, weights, opts)
        self._model = LoadedModel(spec, self.device, precision, field_of_view)
        self._lesion_model = self._model
        if lesion_model is not None:
            lesion_spec = find_model(lesion_model, lesion_weights)
            self._lesion_model = LoadedModel(lesion_spec, self.device, precision, field_of_view)
        elif lesion_weights is not None:
            raise ValueError(f"{lesion_weights}: found weights of a lesion model, but no model")
        self.precision = self._model.precision
        self.image_classes = self._model.image_classes
        self.lesion_classes = self._lesion_model.lesion_classes
        self.has_masks = self._lesion_model.has_masks
        own, lesions = (
            Window.parse(window or model.spec.window or LUNG)
            for model in (self._model, self._lesion_model)
        )
        self.windows = own, lesions
        self.window = self.windows[1]
        self.fields_of_view = FieldsOfView(
            self._model.field_of_view, self._lesion_model.field_of_view
        )
        if min_score is None:
            min_score = self._lesion_model.spec.cfg.TEST.PIXEL_SCORE_THRESH
        self.min_score = float(min_score)
        self.rule: Rule = parse_rule(aggregation or spec.cfg.TEST.AGGREGATION or "mean")
        self.batch_size = batch_size
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score is {self.min_score}, expected 0 to 1")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, expected 1 or more")

    def predict(
        self,
        source: Source | Sequence[Source],
        window: str | Window | None = None,
        progress: bool = False,
    ) -> Prediction | list[Prediction]:
        """Predict a slice, a scan, or several of them.

        Args:
            source: an image file: a slice. Any other path that `read_volume` takes: a scan (so a
                folder of images is the slices of one scan, in the order of their names). An array:
                a slice, (H, W) or (H, W, 3) uint8 RGB, windowed already, or (H, W) of any other
                number, HU. A Volume: a scan. A list of these: a list of predictions.
            window: of HU, and what 8-bit images are taken to have; None is each model's own.
            progress: show a bar with the remaining time for each scan or list.

        Returns:
            SlicePrediction or ScanPrediction, or a list of them.

        Raises:
            FileNotFoundError, ValueError: what is wrong with which file, and what to do.
            NotFiniteError: a slice gives NaN or infinity; names it.
        """
        if isinstance(source, str | Path) and not is_slice(source):
            source = read_volume(source, window=self.window if window is None else window)
        if isinstance(source, Volume):
            return self.predict_volume(source, window, progress)
        if isinstance(source, str | Path | np.ndarray):
            return next(self._predict_loose([source], window))
        if not isinstance(source, Sequence):
            raise TypeError(
                f"found {type(source).__name__}, expected a path, an array, a Volume or a list of "
                "these; `predict_slices` takes any iterable of images"
            )
        predictions: list[Prediction] = []
        with tqdm(total=len(source), unit="input", mininterval=1, disable=not progress) as bar:
            # Slices that follow each other go through the network together.
            for loose, members in groupby(source, key=is_slice):
                found: Iterator[Any]
                if loose:
                    found = self._predict_loose(members, window)
                else:
                    found = (self.predict(x, window) for x in members)
                for prediction in found:
                    predictions.append(prediction)
                    bar.update()
        return predictions

    def predict_slices(
        self,
        slices: Iterable[tuple[np.ndarray, str]],
        pixel_mm: tuple[float, float] | None = None,
        window: str | Window | None = None,
    ) -> Iterator[SlicePrediction]:
        """Predict slices as they come, in order, with few more than `batch_size` in memory.

        Args:
            slices: pairs of an image, (H, W, 3) uint8 RGB, and its file ("" if it has none).
            pixel_mm: (height, width) of a pixel of all of them; None if unknown.
            window: that they are taken to have, where a model sees the body or the lung alone;
                None is `self.window`.
        """
        own = self.window if window is None else Window.parse(window)
        alike = (
            ((image, image), source, self.fields_of_view.of_slice(image, pixel_mm, own))
            for image, source in slices
        )
        return self._predict(alike, pixel_mm)

    def _predict_loose(
        self, sources: Iterable[Source], window: str | Window | None
    ) -> Iterator[SlicePrediction]:
        windows = self._windows(window)

        def read(source: Source) -> _Slice:
            image, name = other, _ = read_source(source, windows[1])
            if windows[0] != windows[1] and isinstance(source, np.ndarray):
                other, _ = read_source(source, windows[0])
            return (other, image), name, self.fields_of_view.of_slice(image, None, windows[1])

        return self._predict(map(read, sources), None)

    def _windows(self, window: str | Window | None) -> tuple[Window, Window]:
        return self.windows if window is None else (Window.parse(window),) * 2

    def predict_volume(
        self,
        volume: Volume,
        window: str | Window | None = None,
        progress: bool = False,
        lung: LungMask | None = None,
        search_lung: bool = True,
        without_lung: bool = False,
    ) -> ScanPrediction:
        """Predict a scan.

        Args:
            volume, window, progress: see `predict`.
            lung: of the scan. It bounds what a model with the field of view "lung" sees.
            search_lung: whether it is looked for where it is needed and not given.
            without_lung: whether slices without lung are searched, too.
        """
        windows = self._windows(volume.windowed if window is None else window)
        spacing = volume.spacing if volume.measured else None
        pixel_mm = spacing and spacing[1:]
        fields, lung = self.fields_of_view.of_scan(volume.hu, spacing, lung, search_lung)
        searched = np.ones(len(volume), bool)
        if lung is not None and not without_lung:
            searched = has_lung(lung.mask, spacing)
        files = volume.slice_files or [""] * len(volume)

        def read(z: int) -> _Slice:
            image = other = volume.slice(z, windows[1])
            if windows[0] != windows[1]:
                other = volume.slice(z, windows[0])
            return (other, image), files[z], fields

        chosen = map(read, np.flatnonzero(searched).tolist())
        total = int(searched.sum())
        found = iter(
            slice_bar(self._predict(chosen, pixel_mm), volume.source.name, total, progress)
        )
        size = volume.hu.shape[1:]
        slices = tuple(
            next(found) if searched[z] else self._not_searched(size, pixel_mm, files[z])
            for z in range(len(volume))
        )
        classification = None
        if self.image_classes and total:
            probabilities = [s.classification.probabilities for s in slices if s.classification]
            scan = self.rule(np.array(probabilities), np.zeros(total, int))[0]
            classification = Classification(self.image_classes, scan)
        return ScanPrediction(
            slices=slices,
            source=str(volume.source),
            patient=volume.patient,
            scan=volume.scan,
            spacing=spacing,
            classification=classification,
            rule=self.rule.name,
            skipped=volume.skipped,
        )

    def score_map(self, image: np.ndarray, field: Box | None = None) -> np.ndarray | None:
        """Combine the raw masks of a slice's lesions into one map.

        Args:
            image: (H, W, 3) uint8 RGB.
            field: the part in which lesions are looked for, that of its prediction; None is all.

        Returns:
            (H, W) float32, at each pixel the highest mask logit of the lesions whose box covers it,
            NaN where there is none; masks are where it is 0.5 or more (MaskLogitHead). None if the
            model has no masks. Source: the score maps of the paper on lightweight models.
        """
        if not self.has_masks:
            return None
        found = self._lesion_model([image], field=field)[0]["instances"]
        return score_map(found, image.shape[:2], self.min_score, field)

    def describe(self) -> dict[str, Any]:
        """Return models and settings in plain types, for results and reports."""
        roles = {"classes": self._model, "lesions": self._lesion_model}
        if self._lesion_model is self._model:
            roles = {"lesions and classes" if self.image_classes else "lesions": self._model}
        settings: dict[str, Any] = {
            "min_score": self.min_score,
            "field_of_view": str(self.fields_of_view),
            "window": " and ".join(dict.fromkeys(map(str, self.windows))),
            "lesion_nms_iou": self._lesion_model.spec.cfg.MODEL.ROI_HEADS.NMS_THRESH_TEST,
            "device": self.device,
            "precision": self.precision,
        }
        if self.has_masks:
            settings["mask_cut"] = MASK_CUT
        if self.image_classes:
            ranked = self._model.spec.cfg.MODEL.RANKED_BOXES
            settings["ranked_boxes"] = ranked.NUM
            settings["ranked_nms_iou"] = ranked.NMS_THRESH
            settings["aggregation"] = self.rule.name
        models = [{"role": role, **model.spec.describe()} for role, model in roles.items()]
        return {"models": models, "settings": settings}

    def _predict(
        self,
        slices: Iterable[_Slice],
        pixel_mm: tuple[float, float] | None,
    ) -> Iterator[SlicePrediction]:
        # Only images of one size share a batch: padding to the largest would change the others.
        for (_, fields), alike in groupby(slices, key=lambda x: (x[0][0].shape, x[2])):
            while batch := [x[:2] for x in islice(alike, self.batch_size)]:
                predictions = self._predict_batch(batch, fields, pixel_mm)
                batch.clear()  # before the next ones come
                yield from predictions

    def _predict_batch(
        self,
        slices: list[tuple[_Pair, str]],
        fields: Fields,
        pixel_mm: tuple[float, float] | None,
    ) -> list[SlicePrediction]:
        pairs, sources = zip(*slices, strict=True)
        images, own = zip(*pairs, strict=True)
        outputs = self._model(images, sources, fields[0])
        lesions = outputs
        if self._lesion_model is not self._model:
            lesions = self._lesion_model(own, sources, fields[1])
        for output, found in zip(outputs, lesions, strict=True):
            output["instances"], output["lesion_field"] = found["instances"], found["field"]
        models = self._model, self._lesion_model
        return [
            postprocess_slice(output, image.shape[:2], *models, self.min_score, pixel_mm, source)
            for output, image, source in zip(outputs, images, sources, strict=True)
        ]

    def _not_searched(
        self, size: tuple[int, int], pixel_mm: tuple[float, float] | None, source: str
    ) -> SlicePrediction:
        return SlicePrediction(
            size,
            self.lesion_classes,
            (),
            self.has_masks,
            pixel_mm=pixel_mm,
            source=source,
            searched=False,
        )


def slice_bar(
    slices: Iterable[SlicePrediction], name: str, total: int, shown: bool = True
) -> Iterable[SlicePrediction]:
    """Show a bar with the remaining time while the slices of an input are predicted."""
    return tqdm(
        slices, name[:24], total, leave=False, unit="slice", mininterval=1, disable=not shown
    )


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device '{name}': {str(error).splitlines()[0]}") from None
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device '{name}': PyTorch finds no GPU; use auto or cpu")
    return name
