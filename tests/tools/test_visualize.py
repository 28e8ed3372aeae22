"""tools/visualize.py and tools/visualize_data.py on a phantom data set of a few slices."""

import contextlib
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from tiny_models import CONFIG_FOLDER, CONFIGS, tiny_model

from ctmasknet.inference.predictions import RankedBoxTable, SlicePrediction
from ctmasknet.report.data_figures import Panel, panel_of, save_contact_sheets
from ctmasknet.report.dataset_slices import (
    DatasetSlice,
    choose_slices,
    find_record,
    output_stems,
    spread_over,
    true_instances,
)
from ctmasknet.report.paper_figures import save_paper_figures
from ctmasknet.wording import NOTICE

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

PHANTOM_WARNING = "Trained on phantoms: knows only phantoms."
ROOT = Path(__file__).parents[2]
SMALL = {
    "INPUT.MIN_SIZE_TEST": "64",
    "MODEL.RPN.PRE_NMS_TOPK_TEST": "100",
    "MODEL.RPN.POST_NMS_TOPK_TEST": "50",
    "MODEL.RANKED_BOXES.NUM": "16",
    "MODEL.IMAGE_HEAD.FC_DIM": "8",
    "TEST.PIXEL_SCORE_THRESH": "0.1",
    "TEST.DETECTIONS_PER_IMAGE": "6",  # drawing takes longer than the network
}
TREE = [{"file_name": f"/d/{patient}/{n}.png"} for patient in ("P1", "P2") for n in (3, 4)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two slices of three patients each, the second with two lesions; and untrained models."""
    # Stems of their own: other tests register paths, too.
    root = tmp_path_factory.mktemp("data") / "visualized"
    rows, images, annotations = ["file,label,patient,scan"], [], []
    for number in range(6):
        label = number // 2
        file = f"image/P{label}/{number}.png"
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((96, 96), 40 * number, np.uint8)).save(root / file)
        rows.append(f"{file},{label},P{label},P{label}_S1")
        images.append({"id": number + 1, "file_name": file, "height": 96, "width": 96})
        for category in (1, 2) if number % 2 else ():
            mask = np.zeros((96, 96), np.uint8, order="F")
            mask[10:30, 30 * category :][:, :20] = 1
            rle = mask_util.encode(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "category_id": category,
                    "bbox": [30 * category, 10, 20, 20],
                    "area": 400,
                    "iscrowd": 0,
                    "segmentation": {**rle, "counts": rle["counts"].decode()},
                }
            )
    categories = [{"id": 1, "name": "GGO"}, {"id": 2, "name": "C"}]
    lesions = {"images": images, "annotations": annotations, "categories": categories}
    (root / "visualized_labels.csv").write_text("\n".join(rows) + "\n")
    (root / "visualized_lesions.json").write_text(json.dumps(lesions))
    for kind in CONFIGS:
        torch.save({"model": tiny_model(kind).state_dict()}, root / f"{kind}.pth")
    return root


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run a tool; its exit code, the files it wrote and its error."""

    def run(tool, *arguments):
        out = tmp_path / "out"
        monkeypatch.setattr(sys, "argv", [str(x) for x in (tool, "--output", out, *arguments)])
        code = 0
        try:
            runpy.run_path(str(ROOT / "tools" / f"{tool}.py"), run_name="__main__")
        except SystemExit as stop:
            code = stop.code
        written = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
        errors = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error")]
        return code, written, errors

    return run


def model(data, kind="ctmasknet"):
    return ("--model", CONFIG_FOLDER / f"{CONFIGS[kind]}.yaml", "--weights", data / f"{kind}.pth")


def opts():
    return ("--opts", *(x for pair in SMALL.items() for x in pair))


def test_figures_of_a_classifier_with_truth_from_a_lesion_data_set(run, data):
    code, written, errors = run(
        "visualize",
        *model(data),
        *("--dataset", data / "visualized_labels.csv", "--count", 1),
        *("--lesions", data / "visualized_lesions.json"),
        *opts(),
    )
    assert (code, errors) == (0, [])
    assert [name.split("_")[-1] for name in written] == ["figure2.png", "figure3.png"]


def test_a_lesion_model_has_no_figure_3(run, data, tmp_path):
    code, written, _ = run(
        "visualize",
        *model(data, "lesion"),
        *("--dataset", data / "visualized_lesions.json", "--slice", 0, 1),
        *opts(),
    )
    assert code == 0 and len(written) == 2
    assert all(name.endswith("_figure2.png") for name in written)
    assert Image.open(tmp_path / "out" / written[0]).size[0] == 3 * 600  # found, scores, truth


@pytest.mark.parametrize(
    ("models", "feet"),
    [
        ([{"phantom": False}], [NOTICE]),
        ([{"phantom": False}, {"phantom": True}], [f"{NOTICE} {PHANTOM_WARNING}"]),
    ],
)
def test_figures_of_models_of_phantoms_say_so(monkeypatch, tmp_path, models, feet):
    class Answering:
        def describe(self):
            return {"models": models}

        def predict_slices(self, slices):
            rows = np.zeros((8, 5), np.float32)
            nothing = np.zeros(0, np.float32)
            ranked = RankedBoxTable(rows, np.zeros((0, 4)), nothing, (), np.zeros((0, 3)))
            for _, source in slices:
                yield SlicePrediction((8, 10), ("lesion",), (), True, None, ranked, source=source)

        def score_map(self, image, field):
            return None

    saved = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: saved.append(figure))
    monkeypatch.setattr("ctmasknet.figures.atomic_write", contextlib.nullcontext)
    Image.new("L", (10, 8)).save(tmp_path / "a.png")
    save_paper_figures(
        Answering(), [DatasetSlice(str(tmp_path / "a.png"), "a", None, None)], tmp_path
    )
    assert [figure.get_supxlabel() for figure in saved] == feet * 2
    assert all(f"{tmp_path.name}/a.png" in figure.get_suptitle() for figure in saved)


def test_an_unknown_slice_is_one_line_and_leaves_nothing(run, data):
    code, written, (error,) = run(
        "visualize",
        *model(data),
        *("--dataset", data / "visualized_labels.csv", "--slice", "P99/1.png"),
    )
    assert code == 2 and written == []
    assert "slice P99/1.png: not in the data set, nearest names: P" in error


def test_truth_and_batches_of_a_lesion_config(run, data):
    common = ("--config-file", CONFIG_FOLDER / "quick" / "lesion_R18_T1.yaml", "--count", 2)
    sets = [x for key in ("TRAIN", "VALIDATION", "TEST") for x in (f"DATASETS.{key}", "()")]
    sets[1] = f"('{data / 'visualized_lesions.json'}',)"
    small = ("INPUT.MIN_SIZE_TRAIN", "(64,)")
    code, written, errors = run("visualize_data", *common, *sets)
    assert (code, errors) == (0, [])
    # The config wants merged lesions: what is drawn is what training reads.
    assert "truth_visualized_lesions_merge_min100_01.png" in written
    code, written, errors = run("visualize_data", "--source", "batches", *common, *sets, *small)
    assert (code, errors) == (0, [])
    assert "batches_01.png" in written


def test_a_config_without_training_data(run):
    config = CONFIG_FOLDER / "quick" / "lesion_R18_T1.yaml"
    sets = [x for key in ("TRAIN", "VALIDATION", "TEST") for x in (f"DATASETS.{key}", "()")]
    code, written, (error,) = run("visualize_data", "--config-file", config, *sets)
    assert code == 2 and written == [] and "DATASETS.TRAIN is empty" in error


def test_chosen_slices_have_label_truth_and_a_name(data):
    labels, lesions = data / "visualized_labels.csv", data / "visualized_lesions.json"
    content = json.loads(lesions.read_text())
    counts = {
        (lesions.parent / image["file_name"]).resolve(): sum(
            item["image_id"] == image["id"] for item in content["annotations"]
        )
        for image in content["images"]
    }
    slices = choose_slices(str(labels), count=6, lesions=str(lesions))
    assert [len(one.lesions) for one in slices] == [
        counts[Path(one.file).resolve()] for one in slices
    ]
    assert {one.label for one in slices} <= {"Control", "Common Pneumonia", "COVID-19"}
    assert {one.lesion_class for one in sum((s.lesions for s in slices), ())} == {"GGO", "C"}
    (alone,) = choose_slices(str(labels), ["1"])
    assert alone.lesions is None and alone.file.endswith(".png")
    (known,) = choose_slices(str(lesions), ["0"])
    assert known.label is None and known.lesions is not None


def test_lesions_of_other_files_are_refused(data, tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "other.png")
    path = tmp_path / "visualized_others.json"
    image = {"id": 1, "file_name": "other.png", "height": 8, "width": 8}
    categories = [{"id": 1, "name": "lesion"}]
    path.write_text(json.dumps({"images": [image], "annotations": [], "categories": categories}))
    with pytest.raises(ValueError, match="has lesions of none of the slices chosen"):
        choose_slices(str(data / "visualized_labels.csv"), ["0"], lesions=str(path))


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (99, list(range(10)))]
)
def test_slices_at_equal_distances(count, expected):
    assert spread_over([{}] * 10, count) == expected


def test_a_count_below_one():
    with pytest.raises(ValueError, match="count is 0, expected 1 or more"):
        spread_over([{}], 0)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("0", 0), ("3", 3), ("P2/3.png", 2), ("./P1/4.png", 1), ("/d/P2/4.png", 3)],
)
def test_a_slice_by_number_or_by_file(wanted, expected):
    assert find_record(TREE, wanted) == expected


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("4", "slice 4: expected a number from 0 to 3"),
        ("3.png", r"slice 3.png: 2 files end so \(P1/3.png, P2/3.png\); give more of it"),
        ("P1/5.png", "nearest names: P1/[34].png.*or give a number from 0 to 3"),
        ("1/3.png", "slice 1/3.png: not in the data set"),  # part of a folder's name
    ],
)
def test_a_slice_that_is_not_there_or_not_the_only_one(wanted, message):
    with pytest.raises(ValueError, match=message):
        find_record(TREE, wanted)


def test_names_of_figures():
    assert output_stems([{"file_name": "/d/P1/a.png"}, {"file_name": "/d/P2/b.png"}]) == ["a", "b"]
    assert output_stems(TREE) == ["P1_3", "P1_4", "P2_3", "P2_4"]
    with pytest.raises(ValueError, match="a: the figures of two slices would have this name"):
        output_stems([{"file_name": "/d/a.png"}, {"file_name": "/d/a.jpg"}])


def record(segmentation, **keys):
    lesion = {"bbox": [2, 1, 4, 3], "bbox_mode": 1, "category_id": 1, "iscrowd": 0}
    crowd = {**lesion, "iscrowd": 1}
    annotations = [{**item, "segmentation": segmentation} for item in (lesion, crowd)]
    return {"height": 8, "width": 10, "annotations": annotations, **keys}


def rle():
    mask = np.zeros((8, 10), np.uint8, order="F")
    mask[1:4, 2:6] = 1
    return mask_util.encode(mask)


@pytest.mark.parametrize("segmentation", [rle(), [[2, 1, 6, 1, 6, 4, 2, 4]]])
def test_true_lesions_of_both_kinds_of_masks_without_crowds(segmentation):
    (found,) = true_instances(record(segmentation), ["GGO", "C"])
    assert (found.lesion_class, found.score, found.box) == ("C", 1, (2, 1, 6, 4))
    expected = np.zeros((8, 10), bool)
    expected[1:4, 2:6] = True
    assert (found.mask == expected).all()


def test_no_lesions_are_not_unknown_lesions():
    assert true_instances({"height": 8, "width": 10, "annotations": []}, ["lesion"]) == ()
    assert true_instances({"label": 1}, []) is None


def test_captions(tmp_path):
    file = str(tmp_path / "slice.png")
    Image.new("L", (10, 8), 50).save(file)
    folder = tmp_path.name
    records = {"file_name": file, "label": 1}, record(rle(), file_name=file)
    labelled, lesions = (panel_of(one, ["GGO", "C"], ["No", "Yes"]) for one in records)
    assert labelled.caption == f"{folder}/slice.png, 10 x 8, Yes" and labelled.lesions == ()
    assert lesions.caption == f"{folder}/slice.png, 10 x 8, 1 lesion"
    assert (lesions.image == 50).all() and lesions.image.shape == (8, 10, 3)


@pytest.mark.parametrize(("image_format", "red"), [("RGB", 200), ("BGR", 3)])
def test_training_slices_keep_their_pixels_and_channels(image_format, red):
    image = torch.tensor([200.4, 7, 2.6]).reshape(3, 1, 1).expand(3, 8, 10)
    slice_ = {"file_name": "P1/a.png", "image": image, "label": 0}
    picture = panel_of(slice_, [], ["Control"], image_format)
    assert picture.image.dtype == np.uint8 and picture.image.shape == (8, 10, 3)
    assert picture.image[0, 0, 0] == red and picture.image[0, 0, 1] == 7
    assert picture.caption == "P1/a.png, 10 x 8, Control"


def test_pages_of_16(monkeypatch, tmp_path):
    sizes = []
    monkeypatch.setattr(
        "ctmasknet.report.data_figures.save_figure",
        lambda figure, path: sizes.append(figure.get_size_inches().tolist()),
    )
    panels = [Panel("a", np.zeros((8, 10, 3), np.uint8), ())] * 17
    pages = save_contact_sheets(panels, [], tmp_path, "truth_a", "title")
    assert [page.name for page in pages] == ["truth_a_01.png", "truth_a_02.png"]
    assert [width for width, _ in sizes] == [4 * 4.6, 4.6]
    assert save_contact_sheets([], [], tmp_path, "x", "title") == []
