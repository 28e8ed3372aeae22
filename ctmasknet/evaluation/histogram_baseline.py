"""A classifier of intensity histograms: a data set that it solves says nothing about lesions."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..data.images import read_slice

BINS = 32


def histogram_features(image: np.ndarray) -> np.ndarray:
    """Return the share of the pixels of a (H, W) uint8 image in each of 32 bins of grey value.

    Raises:
        ValueError: not a grey 8-bit image.
    """
    if image.dtype != np.uint8 or image.ndim != 2 or image.size == 0:
        raise ValueError(f"found {image.dtype} of shape {image.shape}, expected (H, W) uint8")
    counts = np.bincount(image.ravel() // (256 // BINS), minlength=BINS)
    return counts / image.size


def _table(rows: Sequence[Mapping]) -> tuple[np.ndarray, np.ndarray]:
    grey = (cv2.cvtColor(read_slice(row["file_name"]), cv2.COLOR_RGB2GRAY) for row in rows)
    features = np.stack([histogram_features(image) for image in grey])
    return features, np.array([row["label"] for row in rows])


def histogram_accuracy(train_rows: Sequence[Mapping], test_rows: Sequence[Mapping]) -> float:
    """Return the accuracy of a logistic regression on standardised histograms.

    Args:
        train_rows, test_rows: image-level dataset dicts; "file_name" and "label" are read.

    Raises:
        ValueError: an empty list, or a single class to train on.
    """
    if not train_rows or not test_rows:
        raise ValueError("the histogram baseline needs training and test slices, found none")
    features, labels = _table(train_rows)
    if len(set(labels)) < 2:
        raise ValueError(f"found the class {labels[0]} alone, expected at least two to train on")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    return float(model.fit(features, labels).score(*_table(test_rows)))
