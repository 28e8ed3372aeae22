"""Slices and scans -> predictions."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, starmap
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from tqdm import tqdm

from ..data.window import Window
from ..evaluation.rules import Rule
from ..evaluation.scan_rules import check_rule, find_rule
from ..lung import Box, LungMask, has_lung
from ..volumes.volume import Volume
from ..volumes.volume_files import read_volume
from .inputs import Source, is_slice, read_source
from .loaded_model import LoadedModel, choose_device
from .model_pair import ModelPair, PairedSlice
from .model_spec import DEMO, demo_folders, find_model
from .postprocessing import score_map
from .predictions import Classification, ScanPrediction, SlicePrediction

Prediction = SlicePrediction | ScanPrediction


class Predictor:
    """A model with its weights, ready for slices of any size and for scans.

    Lesions and image class may come from two models: a CT-Mask-Net gives classes and boxes without
    masks, a lesion model masks without classes. Nothing changes after construction: threads may
    share a Predictor. A forked process may not use its parent's (a RuntimeError).

    Attributes:
        lesion_classes: names of the lesion classes.
        image_classes: names of the image classes; empty without a CT-Mask-Net.
        has_masks: whether lesions have masks.
        device, min_score, batch_size: as given.
        precision: of the classifier's convolutions and matrices.
        rule: from the slices' classes to the scan's.
        models: the two, with the windows and fields of view that they see.
        window: of HU, the lesion model's, also what 8-bit images are taken to have.
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
            aggregation: see `evaluation.scan_rules.find_rule`; None takes TEST.AGGREGATION, or
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
        self.device = choose_device(device)
        spec = find_model(config_or_name, weights, opts)
        model = lesions = LoadedModel(spec, self.device, precision, field_of_view)
        if lesion_model is not None:
            lesion_spec = find_model(lesion_model, lesion_weights)
            lesions = LoadedModel(lesion_spec, self.device, precision, field_of_view)
        elif lesion_weights is not None:
            raise ValueError(f"{lesion_weights}: found weights of a lesion model, but no model")
        if not lesions.finds_lesions:
            raise ValueError(
                f"{lesions.spec.name}: classifies images and finds no lesions; name a lesion model "
                "beside it (--lesion-model)"
            )
        self.models = ModelPair(model, lesions, window)
        self.precision = model.precision
        self.image_classes = model.image_classes
        self.lesion_classes = lesions.lesion_classes
        self.has_masks = lesions.has_masks
        self.window = self.models.windows[1]
        if min_score is None:
            min_score = lesions.spec.cfg.TEST.PIXEL_SCORE_THRESH
        self.min_score = float(min_score)
        self.rule: Rule = find_rule(aggregation or spec.cfg.TEST.AGGREGATION or "mean")
        check_rule(self.rule, self.image_classes)
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
            slices: pairs of an image, (H, W, 3) uint8 RGB with the channels that the models read,
                and its file ("" if it has none).
            pixel_mm: (height, width) of a pixel of all of them; None if unknown.
            window: that they are taken to have, where a model sees the body or the lung alone;
                None is `self.window`.
        """
        own = self.window if window is None else Window.parse(window)

        def paired(image: np.ndarray, source: str) -> PairedSlice:
            self.models.check_channels(image, source)
            fields = self.models.fields_of_view.of_slice(image, pixel_mm, own)
            return (image, image), source, fields

        return self._run(starmap(paired, slices), pixel_mm)

    def _predict_loose(
        self, sources: Iterable[Source], window: str | Window | None
    ) -> Iterator[SlicePrediction]:
        windows, channels = self._windows(window), self.models.channels

        def read(source: Source) -> PairedSlice:
            image, name = other, _ = read_source(source, windows[1], channels[1])
            if (windows[0], channels[0]) != (windows[1], channels[1]):
                other, _ = read_source(source, windows[0], channels[0])
            fields = self.models.fields_of_view.of_slice(image, None, windows[1])
            return (other, image), name, fields

        return self._run(map(read, sources), None)

    def _windows(self, window: str | Window | None) -> tuple[Window, Window]:
        return self.models.windows if window is None else (Window.parse(window),) * 2

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
        fields, lung = self.models.fields_of_view.of_scan(volume.hu, spacing, lung, search_lung)
        searched = np.ones(len(volume), bool)
        if lung is not None and not without_lung:
            searched = has_lung(lung.mask, spacing)
        files = volume.slice_files or [""] * len(volume)
        own, shared = zip(windows, self.models.channels, strict=True)

        def read(z: int) -> PairedSlice:
            image = other = volume.slice(z, *shared)
            if own != shared:
                other = volume.slice(z, *own)
            return (other, image), files[z], fields

        chosen = map(read, np.flatnonzero(searched).tolist())
        total = int(searched.sum())
        found = iter(slice_bar(self._run(chosen, pixel_mm), volume.source.name, total, progress))
        nothing = SlicePrediction(
            volume.hu.shape[1:], self.lesion_classes, (), self.has_masks, searched=False
        )
        slices = tuple(
            next(found) if looked else replace(nothing, pixel_mm=pixel_mm, source=file)
            for looked, file in zip(searched, files, strict=True)
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
            image: (H, W, 3) uint8 RGB, with the channels that the lesion model reads.
            field: the part in which lesions are looked for, that of its prediction; None is all.

        Returns:
            (H, W) float32, at each pixel the highest mask logit of the lesions whose box covers it,
            NaN where there is none; masks are where it is 0.5 or more (MaskLogitHead). None if the
            model has no masks. Source: the score maps of the paper on lightweight models.
        """
        if not self.has_masks:
            return None
        found = self.models.lesions([image], field=field)[0]["instances"]
        return score_map(found, image.shape[:2], self.min_score, field)

    def describe(self) -> dict[str, Any]:
        """Return models and settings in plain types, for results and reports."""
        found = self.models.describe()
        own = {"min_score": self.min_score, "device": self.device, "precision": self.precision}
        if self.image_classes:
            own["aggregation"] = self.rule.name
        return {**found, "settings": found["settings"] | own}

    def _run(
        self, slices: Iterable[PairedSlice], pixel_mm: tuple[float, float] | None
    ) -> Iterator[SlicePrediction]:
        return self.models.run(slices, self.batch_size, self.min_score, pixel_mm)


def slice_bar(
    slices: Iterable[SlicePrediction], name: str, total: int, shown: bool = True
) -> Iterable[SlicePrediction]:
    """Show a bar with the remaining time while the slices of an input are predicted."""
    return tqdm(
        slices, name[:24], total, leave=False, unit="slice", mininterval=1, disable=not shown
    )
