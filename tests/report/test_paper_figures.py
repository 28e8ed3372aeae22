"""The papers' figures: colours of the score map, panels that are there, bars and points."""

from inspect import signature

import numpy as np
import pycocotools.mask as mask_util
import pytest
from detectron2.structures import ROIMasks

from ctmasknet.figures import lesion_colour, rgb
from ctmasknet.inference.predictions import (
    Classification,
    Instance,
    RankedBoxTable,
    SlicePrediction,
)
from ctmasknet.modeling.mask_head import TorchvisionROIMasks
from ctmasknet.report.dataset_slices import slice_name
from ctmasknet.report.panels import MASK_CUT, score_map_picture
from ctmasknet.report.paper_figures import figure_2, figure_3

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

IMAGE = np.full((256, 300, 3), 100, np.uint8)
COLOURS = [rgb(lesion_colour(index)) for index in range(2)]
NAMES = ("Control", "Common Pneumonia", "COVID-19")


def lesion(name="lesion", score=0.87, box=(10.0, 20.0, 50.0, 40.0), size=(256, 300)):
    mask = np.zeros(size, np.uint8, order="F")
    x0, y0, x1, y1 = map(int, box)
    mask[y0:y1, x0:x1] = 1
    return Instance(name, score, box, mask_util.encode(mask))


def prediction(classes=("lesion",), classified=True, instances=(), source="P1/3.png"):
    classification = Classification(NAMES, np.array([0.1, 0.2, 0.7]), np.array([-2.5, 0.25, 3.0]))
    return SlicePrediction(
        size=(256, 300),
        lesion_classes=classes,
        instances=tuple(instances),
        has_masks=True,
        classification=classification if classified else None,
        source=source,
    )


def table(count, names=("lesion",)):
    side = np.arange(1, count + 1, dtype=np.float32)
    boxes = np.stack([0 * side, 0 * side, side, 2 * side], axis=1)
    return RankedBoxTable(
        rows=np.zeros((64, 5), np.float32),
        boxes=boxes.reshape(-1, 4),
        scores=np.linspace(0.99, 0.01, count, dtype=np.float32),
        lesion_classes=tuple(names[i % len(names)] for i in range(count)),
        contributions=np.zeros((count, 3), np.float32),
    )


def drawn(figure):
    """The figure's panels after it has been laid out, colour bars left out."""
    figure.draw_without_rendering()
    return [ax for ax in figure.axes if ax.get_title()]


def titles(figure):
    return [ax.get_title() for ax in drawn(figure)]


def test_score_map_is_pale_at_the_cut_blue_below_red_above_and_grey_outside():
    scores = np.array([[np.nan, 0.5, -5.5, 6.5], [-99, 99, -1, 2]], np.float32)
    picture = score_map_picture(scores).astype(int)
    assert picture.shape == (2, 4, 3)
    assert picture[0, 0].tolist() == [48, 48, 48]
    assert picture[0, 1].min() > 240
    assert (picture[0, 2] == picture[1, 0]).all() and (picture[0, 3] == picture[1, 1]).all()
    for below, above in ((picture[0, 2], picture[0, 3]), (picture[1, 2], picture[1, 3])):
        assert below[2] > below[0] and above[0] > above[2]


def test_a_map_without_any_box_is_grey():
    picture = score_map_picture(np.full((3, 2), np.nan, np.float32))
    assert (picture == 48).all()


def test_the_cut_is_that_of_the_mask_head():
    for masks in (ROIMasks, TorchvisionROIMasks):  # what pastes MaskLogitHead's logits
        assert signature(masks.to_bitmasks).parameters["threshold"].default == MASK_CUT


def test_all_four_panels():
    figure = figure_2(
        IMAGE,
        prediction(instances=[lesion()]),
        np.zeros((256, 300), np.float32),
        [lesion(), lesion(box=(60.0, 60.0, 90.0, 90.0))],
        "COVID-19",
    )
    assert titles(figure) == [
        "predicted: 1 lesion",
        "score map",
        "truth: 2 lesions",
        "class logits (probabilities)",
    ]
    assert figure.get_suptitle() == "P1/3.png, classified as COVID-19 (70%), truly COVID-19"
    found, _, true, logits = drawn(figure)
    assert [text.get_text() for text in found.texts] == ["0.87"]
    assert [text.get_text() for text in true.texts] == ["", ""]
    assert [bar.get_width() for bar in logits.patches] == [-2.5, 0.25, 3.0]
    labels = [text.get_text() for text in logits.get_yticklabels()]
    assert labels == [
        "Control\n-2.50 (10%)",
        "Common Pneumonia\n0.25 (20%)",
        "COVID-19 (true)\n3.00 (70%)",
    ]
    assert logits.yaxis_inverted()  # first class on top


def test_what_is_not_there_has_no_panel():
    assert titles(figure_2(IMAGE, prediction(classified=False))) == ["predicted: 0 lesions"]
    healthy = figure_2(IMAGE, prediction(classified=False, source=""), truth=[])
    assert titles(healthy) == ["predicted: 0 lesions", "truth: 0 lesions"]
    assert healthy.get_suptitle() == ""


def test_labels_name_the_class_where_there_are_more_than_one():
    figure = figure_2(
        IMAGE,
        prediction(("GGO", "C"), False, [lesion("C", 0.5)]),
        truth=[lesion("GGO"), lesion("C")],
    )
    found, true = drawn(figure)
    assert [text.get_text() for text in found.texts] == ["C 0.50"]
    assert sorted(text.get_text() for text in true.texts) == ["C", "GGO"]


def test_truth_of_other_classes_than_the_models_has_other_colours():
    figure = figure_2(IMAGE, prediction(instances=[lesion()]), truth=[lesion("GGO")])
    found, true, _ = drawn(figure)
    corners = [ax.images[0].get_array()[40, 20].tolist() for ax in (found, true)]
    assert corners == [list(COLOURS[0]), list(COLOURS[1])]


def test_a_name_may_look_like_a_formula():
    figure = figure_2(IMAGE, prediction(("$x$", "$y"), False, [lesion("$y")], "a$b$.png"))
    figure.draw_without_rendering()
    assert figure.get_suptitle() == r"a\$b\$.png"


@pytest.mark.parametrize("size", [(20, 600), (600, 20)])
def test_narrow_strips_can_be_drawn(size):
    answer = SlicePrediction(size, ("lesion",), (), True)
    figure = figure_2(np.zeros((*size, 3), np.uint8), answer, np.zeros(size, np.float32))
    assert len(drawn(figure)) == 2
    assert 3 <= figure.get_figheight() <= 9.5


def test_sizes_of_different_slices_are_refused():
    with pytest.raises(ValueError, match="image 256 x 300, prediction 256 x 300, score map 8 x 9"):
        figure_2(IMAGE, prediction(), np.zeros((8, 9), np.float32))
    with pytest.raises(ValueError, match="image 300 x 256, prediction 256 x 300"):
        figure_2(np.zeros((300, 256, 3), np.uint8), prediction())


def test_top_16_and_all_boxes():
    figure = figure_3(table(40))
    top, top_areas, every, areas = drawn(figure)
    assert [ax.get_title() for ax in (top, top_areas, every, areas)] == [
        "scores, top 16 boxes",
        "scores over areas, top 16 boxes",
        "scores, all 40 boxes",
        "scores over areas, all 40 boxes",
    ]
    assert sum(bar.get_height() for bar in top.patches) == 16
    assert sum(bar.get_height() for bar in every.patches) == 40
    points = np.asarray(areas.collections[0].get_offsets())
    assert points[:3, 0].tolist() == [2, 8, 18]  # 1 x 2, 2 x 4, 3 x 6 pixels
    assert points[0, 1] == pytest.approx(0.99)
    assert len(top_areas.collections[0].get_offsets()) == 16
    assert areas.get_xscale() == "log" and areas.get_xlabel() and areas.get_ylabel()
    assert "40 ranked boxes fill the 64 rows" in figure.get_suptitle()


@pytest.mark.parametrize(("count", "word"), [(0, "boxes"), (1, "box"), (16, "boxes")])
def test_few_boxes_have_one_row(count, word):
    figure = figure_3(table(count))
    scores, areas = drawn(figure)
    assert scores.get_title() == f"scores, all {count} {word}"
    assert sum(bar.get_height() for bar in scores.patches) == count
    assert [text.get_text() for text in areas.texts] == ["no box"] * (count == 0)


def test_boxes_of_two_classes_have_a_legend_and_no_area_is_one_pixel():
    ranked = table(5, ("GGO", "C"))
    ranked.boxes[0] = 7
    areas = drawn(figure_3(ranked))[1]
    assert [text.get_text() for text in areas.get_legend().get_texts()] == ["GGO", "C"]
    assert np.asarray(areas.collections[0].get_offsets())[0, 0] == 1


def test_figure_3_names_the_slice():
    title = figure_3(table(3), slice_name("/data/P1$/3.png")).get_suptitle()
    assert title.splitlines()[0] == r"P1\$/3.png"
    assert title.splitlines()[1].startswith("3 ranked boxes fill the 64 rows")
