"""Chest CT phantoms: the masks' rules, the classes' findings, the data set on disk."""

import csv
import hashlib
import json
from collections import Counter
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from ctmasknet.data.classes import IMAGE_CLASSES, WINDOW_LEVEL, WINDOW_WIDTH
from ctmasknet.data.phantom import draw_patient, draw_slice, slice_numbers, window, write_phantom
from ctmasknet.data.phantom.anatomy import draw_shapes
from ctmasknet.data.phantom.dataset import SPLITS, plan_patients
from ctmasknet.data.phantom.lesions import lesion_mask
from ctmasknet.data.phantom.patient import LAST_SLICE

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

CONTROL, PNEUMONIA, COVID = (
    IMAGE_CLASSES.index(n) for n in ("Control", "Common Pneumonia", "COVID-19")
)
SIZE = 128
SMALL = {"patients": 9, "slices": 2, "size": 160, "split": (1, 1, 1)}


@cache
def masks_of(label: int) -> list[np.ndarray]:
    drawn = []
    for index in range(4):
        patient = draw_patient(3, index, label)
        drawn += [draw_slice(patient, n, SIZE)[1] for n in slice_numbers(patient, 3)]
    return drawn


def components(mask: np.ndarray) -> np.ndarray:
    """Area and horizontal centre of the lesions that count at 512 x 512, (n, 2)."""
    _, _, stats, centres = cv2.connectedComponentsWithStats((mask >= 2).astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    big = areas > 100 * (SIZE / 256) ** 2
    return np.stack([areas[big], centres[1:, 0][big]], axis=1)


def digest(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def read_rows(root: Path, split: str) -> list[dict[str, str]]:
    with open(root / f"{split}.csv", newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "phantom"
    table = write_phantom(root, **SMALL, seed=5)
    return root, table


def test_lesion_mask_follows_the_stated_thresholds():
    added = np.array([[0, 59.9, 60.0, 369.9, 370.0], [0, 60, 60, 500, 500]], np.float32)
    lung = np.array([[1, 1, 1, 1, 1], [0, 0, 1, 0, 1]], bool)
    expected = [[1, 1, 2, 2, 3], [0, 0, 2, 0, 3]]
    np.testing.assert_array_equal(lesion_mask(added, lung), expected)


def test_window_maps_its_ends_to_0_and_255():
    low, high = WINDOW_LEVEL - WINDOW_WIDTH / 2, WINDOW_LEVEL + WINDOW_WIDTH / 2
    hu = np.array([low - 500, low, WINDOW_LEVEL, high, high + 500], np.float32)
    np.testing.assert_array_equal(window(hu), [0, 0, 128, 255, 255])


def test_a_slice_looks_like_a_chest_in_hu():
    patient = draw_patient(0, 0, CONTROL)
    hu, mask = draw_slice(patient, slice_numbers(patient, 1)[0], SIZE)
    assert hu.dtype == np.float32 and mask.dtype == np.uint8
    assert hu.shape == mask.shape == (SIZE, SIZE)
    assert np.median(hu[mask == 1]) < -650
    assert abs(np.median(hu[:4]) + 1000) < 60  # air
    assert hu.max() > 300  # bone
    left, right = mask[:, SIZE // 2 :] > 0, mask[:, : SIZE // 2] > 0
    assert min(left.mean(), right.mean()) > 0.05


@pytest.mark.parametrize("label", [CONTROL, PNEUMONIA, COVID])
def test_lesions_lie_in_the_lung_and_values_are_known(label):
    patient = draw_patient(1, 1, label)
    for number in slice_numbers(patient, 2):
        mask = draw_slice(patient, number, SIZE)[1]
        lung = draw_shapes(patient.body, number / LAST_SLICE, SIZE).lung < 0
        assert set(np.unique(mask)) <= {0, 1, 2, 3}
        np.testing.assert_array_equal(mask > 0, lung)


def test_lesions_are_denser_than_the_lung_around():
    patient = draw_patient(2, 0, PNEUMONIA)
    hu, mask = draw_slice(patient, slice_numbers(patient, 1)[0], 256)
    lung, glass, solid = (np.median(hu[mask == value]) for value in (1, 2, 3))
    assert lung + 80 < glass < solid - 100
    assert -150 < solid < 150


def test_control_has_no_lesion():
    assert max(mask.max() for mask in masks_of(CONTROL)) == 1


def test_covid_is_bilateral_in_several_patches():
    for mask in masks_of(COVID):
        lesions = components(mask)
        assert 2 <= len(lesions) <= 9
        assert (lesions[:, 1] < SIZE / 2).any() and (lesions[:, 1] > SIZE / 2).any()


def test_pneumonia_is_fewer_and_larger_than_covid():
    pneumonia = [components(mask) for mask in masks_of(PNEUMONIA)]
    covid = [components(mask) for mask in masks_of(COVID)]
    assert all(1 <= len(lesions) <= 3 for lesions in pneumonia)
    assert np.mean([len(x) for x in covid]) > 2 * np.mean([len(x) for x in pneumonia])
    areas = [np.median(np.concatenate(of)[:, 0]) for of in (pneumonia, covid)]
    assert areas[0] > 2 * areas[1]
    solid = [
        np.mean([(m == 3).sum() / (m >= 2).sum() for m in masks_of(label)])
        for label in (PNEUMONIA, COVID)
    ]
    assert solid[0] > solid[1]


def test_slices_of_a_patient_resemble_each_other_more_than_other_patients():
    first, second = (draw_patient(0, index, CONTROL) for index in (0, 1))
    one, other = (draw_slice(first, number, SIZE)[1] for number in slice_numbers(first, 5)[:2])
    stranger = draw_slice(second, slice_numbers(second, 5)[0], SIZE)[1]
    assert (one != other).mean() < 0.5 * (one != stranger).mean()
    assert (one != other).any()


def test_the_anatomy_scales_with_the_image_size():
    patient = draw_patient(0, 2, COVID)
    number = slice_numbers(patient, 1)[0]
    small, large = (draw_slice(patient, number, size)[1] for size in (SIZE, 2 * SIZE))
    assert (small != large[::2, ::2]).mean() < 0.05


def test_slice_numbers_are_distinct_and_in_range():
    for index in range(2):
        numbers = slice_numbers(draw_patient(7, index, CONTROL), 100)
        assert len(set(numbers)) == 100
        assert numbers == sorted(numbers)
        assert numbers[0] >= 0 and numbers[-1] <= LAST_SLICE


def test_plan_is_balanced_stratified_and_disjoint():
    tasks = plan_patients(96, (5, 1, 2), seed=0)
    assert [task.index for task in tasks] == list(range(96))
    counts = Counter((task.split, task.label) for task in tasks)
    assert counts == {
        (split, label): count
        for split, count in zip(SPLITS, (20, 4, 8), strict=True)
        for label in range(3)
    }
    assert tasks == plan_patients(96, (5, 1, 2), seed=0)
    assert tasks != plan_patients(96, (5, 1, 2), seed=1)


def test_plan_refuses_too_few_patients_and_bad_weights():
    with pytest.raises(ValueError, match="draw more patients"):
        plan_patients(6, (5, 1, 2), seed=0)
    for weights in ((1, 1), (1, 0, 1)):
        with pytest.raises(ValueError, match="three positive weights"):
            plan_patients(96, weights, seed=0)


def test_data_set_on_disk(phantom):
    root, table = phantom
    patients = {}
    for split in SPLITS:
        rows = read_rows(root, split)
        assert list(rows[0]) == ["file", "label", "patient", "scan"]
        assert Counter(row["label"] for row in rows) == {"0": 2, "1": 2, "2": 2}
        patients[split] = {row["patient"] for row in rows}
        for row in rows:
            image = cv2.imread(str(root / row["file"]), cv2.IMREAD_UNCHANGED)
            mask = cv2.imread(str(root / "mask" / Path(row["file"]).relative_to("image")), 0)
            assert image.shape == mask.shape == (160, 160) and image.dtype == np.uint8
            assert row["file"].startswith(f"image/{row['patient']}/")
            assert row["scan"] == f"{row['patient']}_S1"
    assert sum(map(len, patients.values())) == len(set.union(*patients.values())) == 9
    assert "Common Pneumonia" in table and "test" in table


def test_lesion_json_agrees_with_the_lists(phantom):
    root, _ = phantom
    for split in SPLITS:
        rows = {row["file"]: row for row in read_rows(root, split)}
        for kind, names in (("merge", ["lesion"]), ("both", ["GGO", "C"])):
            coco = json.loads((root / f"lesion_{kind}_{split}.json").read_text())
            assert [category["name"] for category in coco["categories"]] == names
            assert {image["file_name"] for image in coco["images"]} == set(rows)
            file_of = {image["id"]: image["file_name"] for image in coco["images"]}
            bearing = {rows[file_of[item["image_id"]]]["label"] for item in coco["annotations"]}
            assert "0" not in bearing and "1" in bearing


def test_same_seed_same_bytes_on_any_number_of_threads(phantom, tmp_path):
    root, _ = phantom
    write_phantom(tmp_path / "two", **SMALL, seed=5, threads=2)
    assert digest(tmp_path / "two") == digest(root)


def test_another_seed_draws_other_patients():
    first, second = (draw_patient(seed, 0, COVID) for seed in (5, 6))
    assert (draw_slice(first, 500, 64)[0] != draw_slice(second, 500, 64)[0]).all()


def test_output_is_refused_or_replaced_whole(phantom, tmp_path):
    arguments = {"patients": 9, "slices": 1, "size": 64, "split": (1, 1, 1)}
    output = tmp_path / "phantom"
    output.mkdir()
    (output / "train.csv").write_text("old")
    with pytest.raises(ValueError, match="--overwrite"):
        write_phantom(output, **arguments)
    write_phantom(output, overwrite=True, **arguments)
    assert len(read_rows(output, "train")) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["phantom"]
    (output / "thesis.tex").write_text("dear")
    with pytest.raises(ValueError, match=r"thesis\.tex"):
        write_phantom(output, overwrite=True, **arguments)
    assert (output / "thesis.tex").exists()


def test_nothing_is_left_behind_when_drawing_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "imwrite", lambda *_: False)
    with pytest.raises(OSError, match="could not be written"):
        write_phantom(tmp_path / "phantom", patients=9, slices=1, size=64, split=(1, 1, 1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong", [{"slices": 0}, {"size": 16}, {"threads": 0}, {"patients": 0}, {"seed": -1}]
)
def test_arguments_out_of_range_are_named(tmp_path, wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} .*expected"):
        write_phantom(tmp_path / "phantom", **wrong)
    assert list(tmp_path.iterdir()) == []
