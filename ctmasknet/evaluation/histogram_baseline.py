"""A classifier of intensity histograms: a data set that it solves says nothing about lesions."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..data.histogram import histogram_features
from ..data.images import read_slice


def _table(rows: Sequence[Mapping]) -> tuple[np.ndarray, np.ndarray]:
    grey = (cv2.cvtColor(read_slice(row["file_name"]), cv2.COLOR_RGB2GRAY) for row in rows)
    features = np.stack([histogram_features(image) for image in grey])
    return features, np.array([row["label"] for row in rows])


def histogram_accuracy(train_rows: Sequence[Mapping], test_rows: Sequence[Mapping]) -> float:
    """Return the accuracy of a logistic regression on standardised histograms.

    Rows are dataset dicts with "file_name" and "label". Raises a ValueError without rows, or with a
    single class to train on.
    """
    if not train_rows or not test_rows:
        raise ValueError("the histogram baseline needs training and test slices, found none")
    features, labels = _table(train_rows)
    if len(set(labels)) < 2:
        raise ValueError(f"found the class {labels[0]} alone, expected at least two to train on")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    return float(model.fit(features, labels).score(*_table(test_rows)))
