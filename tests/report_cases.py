"""Scans and loose slices of 64 x 64 pixels, predicted by every kind of model, for reports."""

from dataclasses import replace

import numpy as np
import pycocotools.mask as mask_util

from ctmasknet.inference.predictions import (
    Classification,
    Instance,
    RankedBoxTable,
    ScanPrediction,
    SlicePrediction,
)
from ctmasknet.lung import LungMask
from ctmasknet.quantification.case import Case, KeySlice, choose_key_slices
from ctmasknet.quantification.quantify import join, quantify
from ctmasknet.wording import NOTICE

CLASSES = ("Control", "COVID-19")
SIDE = 64
ABOUT = {
    "command": "ctmasknet predict scan",
    "time": "2026-01-02T03:04:05+00:00",
    "models": [
        {
            "role": "lesions",
            "name": "R18_T1",
            "config": "config.yaml",
            "weights": "model.pth",
            "sha256": "abc123",
            "trained_on": "cncb_train",
            "phantom": False,
        }
    ],
    "settings": {"min_score": 0.5, "window": "1500,-600"},
    "versions": {"ctmasknet": "0.1.0"},
    "notice": NOTICE,
}


def an_instance(name, score, x0, y0, x1, y1, masked=True, mm2=0.25):
    mask = np.zeros((SIDE, SIDE), np.uint8, order="F")
    mask[y0:y1, x0:x1] = 1
    rle = mask_util.encode(mask)
    area = int(mask.sum())
    return Instance(
        lesion_class=name,
        score=score,
        box=(x0, y0, x1, y1),
        rle={**rle, "counts": rle["counts"].decode()} if masked else None,
        area_px=area if masked else None,
        area_mm2=area * mm2 if masked and mm2 else None,
    )


def a_slice(instances=(), logits=None, names=("GGO", "C"), boxes=2, masks=True, mm=0.5, **more):
    answer = ranked = None
    if logits is not None:
        probabilities = np.exp(logits) / np.exp(logits).sum()
        classes = more.pop("classes", CLASSES)
        answer = Classification(classes, probabilities, np.array(logits))
        ranked = RankedBoxTable(
            rows=np.zeros((8, 5), np.float32),
            boxes=np.array([[2, 3, 10, 12], [20, 30, 40, 45]], np.float32)[:boxes],
            scores=np.array([0.8, 0.3], np.float32)[:boxes],
            lesion_classes=names[:1] * boxes,
            contributions=np.array([[-0.5, 0.25], [0, 1.25]], np.float32)[:boxes],
        )
    pixel = (mm, mm) if mm else None
    return SlicePrediction(
        (SIDE, SIDE), names, tuple(instances), masks, answer, ranked, pixel, **more
    )


def a_scan(slices, spacing=(2.0, 0.5, 0.5), lung=False, lobes=None, **changes):
    first = slices[0].classification
    answer = None
    if first:
        mean = np.mean([s.classification.probabilities for s in slices], axis=0)
        answer = Classification(first.class_names, mean)
    scan = ScanPrediction(tuple(slices), "a/scan", "p7", "1.2", spacing, answer)
    mask = np.zeros((len(slices), SIDE, SIDE), bool)
    mask[:, :32] = True
    found = LungMask(mask, "a threshold", False, lobes) if lung else None
    measured = quantify(slices, spacing, lung=found)
    case = Case("scan_7", "a/scan", scan.slices, scan, None, measured, ABOUT)
    return replace(case, **changes)


def loose(slices, **changes):
    measured = join([quantify([s]) for s in slices])
    case = Case("folder", "a/folder", tuple(slices), None, None, measured, ABOUT)
    return replace(case, **changes)


def pictures(case, score_map=None):
    grey = np.full((SIDE, SIDE, 3), 90, np.uint8)
    return [KeySlice(index, grey, score_map) for index in choose_key_slices(case)[:1]]


def classified():
    """Two slices: 8 x 16 pixels of GGO and 4 x 4 of C on the first, nothing on the second."""
    found = [an_instance("GGO", 0.93, 4, 8, 12, 24), an_instance("C", 0.61, 40, 40, 44, 44)]
    return a_scan([a_slice(found, [0.0, np.log(3)]), a_slice([], [0.0, 0.0])], lung=True)


def with_lobes():
    """As `classified`: each lobe has 6 columns of 32 pixels; GGO lies in the first two lobes."""
    found = [an_instance("GGO", 0.93, 4, 8, 12, 24), an_instance("C", 0.61, 40, 40, 44, 44)]
    lobes = np.zeros((2, SIDE, SIDE), np.uint8)
    for lobe in range(5):
        lobes[:, :32, 6 * lobe : 6 * lobe + 6] = lobe + 1
    return a_scan([a_slice(found), a_slice()], lung=True, lobes=lobes)


def a_score_map():
    scores = np.full((SIDE, SIDE), np.nan, np.float32)
    scores[8:24, 4:12] = -2
    scores[10:20, 5:10] = 3.5
    return scores


CASES = {
    "both models": classified,
    "lobes": with_lobes,
    "lesion model": lambda: a_scan([a_slice([an_instance("GGO", 0.9, 4, 8, 12, 24)])] * 3),
    "no lesion": lambda: a_scan([a_slice()] * 8),
    "one slice": lambda: a_scan([a_slice([], [0.0, 1.0])]),
    "no ranked box": lambda: a_scan([a_slice([], [0.0, 1.0], boxes=0)] * 2),
    "one lesion class": lambda: a_scan([a_slice(names=("lesion",))] * 2),
    "boxes alone": lambda: a_scan(
        [a_slice([an_instance("GGO", 0.9, 1, 2, 3, 4, masked=False)], [0.0, 1.0], masks=False)] * 2
    ),
    "size unknown": lambda: a_scan(
        [a_slice([an_instance("GGO", 0.9, 4, 8, 12, 24, mm2=None)], mm=None)] * 2, spacing=None
    ),
    "loose": lambda: loose([a_slice([], [0.0, 1.0], source="a/1.png"), a_slice([], [1.0, 0.0])]),
    "loose, lesions alone": lambda: loose([a_slice(mm=None)]),
}
