"""The histogram baseline on hand-made slices: solvable, unsolvable, bad input."""

import cv2
import numpy as np
import pytest

from ctmasknet.evaluation.histogram_baseline import histogram_accuracy, histogram_features


def write_rows(folder, images, labels):
    rows = []
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), image)
        rows.append({"file_name": str(path), "label": label})
    return rows


def test_features_are_shares_of_32_equal_bins():
    image = np.array([[0, 7, 8, 255], [248, 247, 16, 16]], np.uint8)
    expected = np.zeros(32)
    expected[[0, 1, 2, 30, 31]] = np.array([2, 1, 2, 1, 2]) / 8
    np.testing.assert_array_equal(histogram_features(image), expected)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint16), np.zeros((0, 4), np.uint8)],
)
def test_features_refuse_other_images(image):
    with pytest.raises(ValueError, match="uint8"):
        histogram_features(image)


def test_classes_of_other_brightness_are_told_apart(tmp_path):
    labels = [0, 1, 2] * 8
    rng = np.random.default_rng(0)
    images = [rng.integers(80 * k, 80 * k + 60, (16, 16)).astype(np.uint8) for k in labels]
    rows = write_rows(tmp_path, images, labels)
    assert histogram_accuracy(rows[:12], rows[12:]) == 1.0


def test_classes_that_differ_in_place_alone_are_not(tmp_path):
    top, left = np.zeros((16, 16), np.uint8), np.zeros((16, 16), np.uint8)
    top[:8], left[:, :8] = 200, 200
    labels = [0, 1] * 6
    rows = write_rows(tmp_path, [(top, left)[k] for k in labels], labels)
    assert histogram_accuracy(rows[:6], rows[6:]) == 0.5


def test_bad_lists_are_refused(tmp_path):
    rows = write_rows(tmp_path, [np.zeros((8, 8), np.uint8)] * 2, [0, 0])
    with pytest.raises(ValueError, match="found none"):
        histogram_accuracy([], rows)
    with pytest.raises(ValueError, match="at least two"):
        histogram_accuracy(rows, rows)
