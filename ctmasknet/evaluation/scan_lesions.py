"""Lesions of scans in three dimensions: how many are found, and how many that are none.

Both sides are outlines on slices, which `link_outlines` makes lesions; true ones are told by their
"lesion_id" where all of a scan have one. At falling score each predicted lesion takes the free true
one of its class with the highest IoU, of all their pixels on all slices: at 0.1 or more that one is
found, as in the PI-CAI challenge (Saha et al., Lancet Oncol 2024; 25:879-887). Other predicted
lesions are false positives.

Shapes: S scans, K classes, B sets of weights.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pycocotools.mask as mask_util

from ..data.linked_outlines import Rle, link_outlines, shared_pixels
from .lesion_set import LesionImage, LesionSet
from .metric_names import metric_suffix

LESION_IOU = 0.1
THRESHOLDS = tuple(k / 10 for k in range(1, 10))  # of scores, of the curve


@dataclass(frozen=True)
class ScanSet:
    """A data set scan by scan."""

    class_names: tuple[str, ...]
    patients: list[str]  # S names; a scan without a patient is a patient of its own
    scans: list[list[LesionImage]]  # by their slice_index


def group_scans(lesions: LesionSet) -> ScanSet | str:
    """Sort the slices of a data set into scans; where that cannot be, return why.

    "" says that nothing is known of the order of slices.
    """
    known = [image.slice_index is not None for image in lesions.images]
    if not any(known):
        return ""
    if missing := sum(
        not (image.scan and x) for image, x in zip(lesions.images, known, strict=True)
    ):
        return f"{missing} of the {len(known)} images have no scan or slice_index"
    if any(x["iscrowd"] for x in lesions.truth.dataset["annotations"]):
        return "some lesions are marked as crowds"
    scans = defaultdict(list)
    for image in lesions.images:
        scans[image.patient or image.scan, image.scan].append(image)
    for (_, name), images in scans.items():
        images.sort(key=lambda image: image.slice_index or 0)
        if len({image.slice_index for image in images}) < len(images):
            return f"the scan {name} has two slices of one slice_index"
        if len({(image.height, image.width) for image in images}) > 1:
            return f"the slices of the scan {name} differ in size"
    return ScanSet(lesions.class_names, [patient for patient, _ in scans], list(scans.values()))


class ScanLesionStatistic:
    """Sensitivity for lesions and false positives per scan, of weighted scans.

    Values without a class pool all lesions; several classes have values of their own, too.
    """

    def __init__(self, scans: ScanSet, score_thresh: float):
        """Match the lesions of outlines that score at least `score_thresh`."""
        self._scans, self._classes = scans, len(scans.class_names)
        self._truth = [_true_lesions(images) for images in scans.scans]
        self._counts = self._match(score_thresh)

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return metric -> (B,) from weights (B, S); sensitivity is NaN without lesions."""
        names = self._scans.class_names
        columns = {"": slice(None)}
        if len(names) > 1:
            columns |= {f"_{metric_suffix(x)}": slice(k, k + 1) for k, x in enumerate(names)}
        values = {}
        for suffix, chosen in columns.items():
            lesions, found, wrong = weights @ self._counts[:, :, chosen].sum(axis=2)[:, :, None]
            with np.errstate(invalid="ignore", divide="ignore"):
                values[f"sensitivity{suffix}"] = (found / lesions)[:, 0]
                values[f"fp_per_scan{suffix}"] = wrong[:, 0] / weights.sum(axis=1)
        return values

    def curve(self) -> list[list[float]]:
        """Return [least score, false positives per scan, sensitivity] of all classes together.

        At each of THRESHOLDS outlines are linked anew; none without lesions.
        """
        points = []
        for threshold in THRESHOLDS:
            lesions, found, wrong = self._match(threshold).sum(axis=(1, 2))
            if lesions:
                points.append([threshold, float(wrong / len(self._truth)), float(found / lesions)])
        return points

    def _match(self, score_thresh: float) -> np.ndarray:
        """Count lesions, those found and false positives: (3, S, K)."""
        counts = np.zeros((3, len(self._truth), self._classes))
        for s, (images, truth) in enumerate(zip(self._scans.scans, self._truth, strict=True)):
            found = _found_lesions(images, score_thresh)
            hits, misses = _matched(truth, found)
            for row, classes in zip(counts, (truth.classes, hits, misses), strict=True):
                row[s] = np.bincount(classes, minlength=self._classes)
        return counts


@dataclass(frozen=True)
class _Lesions:
    """The N lesions of a scan."""

    classes: np.ndarray  # (N,) int64
    scores: np.ndarray  # (N,) float64, the highest of its outlines; zeros of the truth
    masks: list[dict[int, Rle]]  # of each slice, lesion -> all of it there


def _true_lesions(images: Sequence[LesionImage]) -> _Lesions:
    numbers = None
    if all(lesion_id for image in images for lesion_id in image.true_lesions):
        known: dict[tuple[int, str], int] = {}
        pairs = [zip(x.true_classes.tolist(), x.true_lesions, strict=True) for x in images]
        numbers = [[known.setdefault(pair, len(known)) for pair in part] for part in pairs]
    scores = [np.zeros(len(x.true_masks)) for x in images]
    masks, classes = [x.true_masks for x in images], [x.true_classes for x in images]
    return _joined(images, masks, classes, scores, numbers)


def _found_lesions(images: Sequence[LesionImage], score_thresh: float) -> _Lesions:
    kept = [np.flatnonzero(image.scores >= score_thresh) for image in images]
    pairs = list(zip(images, kept, strict=True))
    masks = [[image.found_masks[i] for i in own] for image, own in pairs]
    classes = [image.found_classes[own] for image, own in pairs]
    return _joined(images, masks, classes, [image.scores[own] for image, own in pairs])


def _joined(
    images: Sequence[LesionImage],
    masks: Sequence[Sequence[Rle]],
    classes: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    numbers: Sequence[Sequence[int]] | None = None,
) -> _Lesions:
    """Join outlines to lesions, by the number of each outline's lesion or else by linking them."""
    if numbers is None:
        places = [image.slice_index or 0 for image in images]
        linked = link_outlines(masks, [part.tolist() for part in classes], places)
        numbers = [part.tolist() for part in linked]
    count = 1 + max((number for part in numbers for number in part), default=-1)
    of_lesions, best = np.zeros(count, np.int64), np.zeros(count)
    on_slices = []
    for outlines, names, values, part in zip(masks, classes, scores, numbers, strict=True):
        own = defaultdict(list)
        for mask, name, score, number in zip(outlines, names, values, part, strict=True):
            own[number].append(mask)
            of_lesions[number], best[number] = name, max(best[number], score)
        on_slices.append({number: mask_util.merge(parts) for number, parts in own.items()})
    return _Lesions(of_lesions, best, on_slices)


def _matched(truth: _Lesions, found: _Lesions) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes of true lesions that are found, and of false positives."""
    shared = np.zeros((len(truth.classes), len(found.classes)), np.int64)
    sizes = [np.zeros(len(x.classes), np.int64) for x in (truth, found)]
    for true, other in zip(truth.masks, found.masks, strict=True):
        for size, own in zip(sizes, (true, other), strict=True):
            if own:
                size[list(own)] += mask_util.area(list(own.values())).astype(np.int64)
        both = shared_pixels(list(true.values()), list(other.values()))
        shared[np.ix_(list(true), list(other))] += both
    iou = shared / np.maximum(sizes[0][:, np.newaxis] + sizes[1] - shared, 1)
    iou[truth.classes[:, np.newaxis] != found.classes] = 0
    hits, misses = [], []
    for number in np.argsort(-found.scores, kind="stable").tolist():
        best = int(iou[:, number].argmax()) if len(iou) else -1
        if best < 0 or iou[best, number] < LESION_IOU:
            misses.append(found.classes[number])
            continue
        hits.append(truth.classes[best])
        iou[best] = 0  # it is taken
    return np.array(hits, np.int64), np.array(misses, np.int64)
