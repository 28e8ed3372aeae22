import json

import numpy as np
import pycocotools.mask as mask_util
import pytest

from ctmasknet.evaluation.lesion_files import read_lesions

SIZE = (48, 64)  # height, width


def rle_of(x, y, width, height, size=SIZE):
    """A rectangle as RLE that JSON can hold."""
    mask = np.zeros(size, np.uint8)
    mask[y : y + height, x : x + width] = 1
    rle = mask_util.encode(np.asfortranarray(mask))
    return {"size": list(size), "counts": rle["counts"].decode()}


def rectangle(image, label, *box):
    """What annotations and detections share."""
    return {
        "image_id": image,
        "category_id": label + 1,
        "bbox": [float(v) for v in box],
        "segmentation": rle_of(*box),
    }


@pytest.fixture
def write_lesions(tmp_path):
    """Write rectangles as COCO files; returns the paths of truth and detections.

    Lesions are (image, class, x, y, width, height), with crowds after "crowd"; detections have a
    score after the class. Images are 1 to `images`.
    """

    def write(lesions=(), detections=(), images=1, classes=("lesion",), crowds=(), patients=()):
        annotations = [
            {**rectangle(*lesion), "id": i, "area": lesion[4] * lesion[5], "iscrowd": crowd}
            for i, (lesion, crowd) in enumerate(
                [(x, 0) for x in lesions] + [(x, 1) for x in crowds], start=1
            )
        ]
        names = dict(enumerate(patients, start=1))
        truth = {
            "images": [
                {"id": i, "file_name": f"{i:04}.png", "height": SIZE[0], "width": SIZE[1]}
                | ({"patient": names[i]} if i in names else {})
                for i in range(1, images + 1)
            ],
            "annotations": annotations,
            "categories": [{"id": k, "name": name} for k, name in enumerate(classes, start=1)],
        }
        found = [
            {**rectangle(image, label, *box), "score": score}
            for image, label, score, *box in detections
        ]
        paths = tmp_path / "truth.json", tmp_path / "detections.json"
        for path, content in zip(paths, (truth, found), strict=True):
            path.write_text(json.dumps(content))
        return paths

    return write


@pytest.fixture
def lesion_set(write_lesions):
    """As `write_lesions`, but returns what `read_lesions` makes of the files."""

    def make(*args, **kwargs):
        truth, detections = write_lesions(*args, **kwargs)
        return read_lesions(truth, [detections])

    return make


@pytest.fixture
def random_lesions():
    """Lesions and detections of a seed: some shifted lesions, some anywhere, in some images."""

    def draw(seed, images, classes=1, detections=6):
        rng = np.random.default_rng(seed)

        def box():
            width, height = rng.integers(3, 40, 2).tolist()
            x, y = rng.integers(0, SIZE[1] - width), rng.integers(0, SIZE[0] - height)
            return int(x), int(y), width, height

        def shifted(x, y, width, height):
            dx, dy, dw, dh = rng.integers(-2, 3, 4).tolist()
            x, y = max(x + dx, 0), max(y + dy, 0)
            return x, y, min(max(width + dw, 1), SIZE[1] - x), min(max(height + dh, 1), SIZE[0] - y)

        lesions, found = [], []
        for image in range(1, images + 1):
            mine = [(image, int(rng.integers(classes)), *box()) for _ in range(rng.integers(4))]
            lesions += mine
            for _ in range(rng.integers(detections) if rng.random() < 0.8 else 0):
                if mine and rng.random() < 0.7:
                    _, label, *where = mine[rng.integers(len(mine))]
                    label, where = (label if rng.random() < 0.8 else 0), shifted(*where)
                else:
                    label, where = int(rng.integers(classes)), box()
                # As Detectron2's scores: single precision.
                found.append((image, label, float(np.float32(rng.random())), *where))
        return lesions, found

    return draw


@pytest.fixture
def no_figures(monkeypatch):
    """Reports are written without their figures, which take most of the time."""
    for kind, names in (
        ("image", ("save_confusion_matrix", "save_reliability")),
        ("lesion", ("save_froc", "save_precision_recall", "save_bland_altman")),
    ):
        for name in names:
            monkeypatch.setattr(f"ctmasknet.evaluation.{kind}_report.{name}", lambda *_: None)
