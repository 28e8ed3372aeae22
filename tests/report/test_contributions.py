"""The overlay of contributions: which boxes, which colours, how wide, with which numbers."""

from dataclasses import replace

import numpy as np
import pytest

from ctmasknet.inference.predictions import RankedBoxTable
from ctmasknet.report import overlay
from ctmasknet.report.overlay import AGAINST, FOR, draw_contributions

IMAGE = np.full((512, 512, 3), 100, np.uint8)
BOXES = [[50, 50, 150, 150], [300, 50, 400, 150], [50, 300, 150, 400], [300, 300, 400, 400]]


def ranked(contributions, boxes=BOXES):
    contributions = np.asarray(contributions, np.float32)
    count = len(contributions)
    return RankedBoxTable(
        rows=np.zeros((64, 5), np.float32),
        boxes=np.asarray(boxes, np.float32).reshape(-1, 4)[:count],
        scores=np.full(count, 0.5, np.float32),
        lesion_classes=("lesion",) * count,
        contributions=contributions,
    )


def written(monkeypatch):
    """Collect the texts that are drawn and their areas."""
    drawn, text_of = {}, {}
    make, put = overlay.text_picture, overlay._put

    def note_text(text, *rest):
        picture = make(text, *rest)
        text_of[id(picture)] = text
        return picture

    def note_place(canvas, area, picture):
        drawn[text_of[id(picture)]] = area
        put(canvas, area, picture)

    monkeypatch.setattr(overlay, "text_picture", note_text)
    monkeypatch.setattr(overlay, "_put", note_place)
    return drawn


def run_length(row, colour):
    return int((row == colour).all(axis=-1).sum())


def test_colour_is_the_sign_and_width_the_size_for_the_class_asked_for():
    table = ranked([[9, 4.0], [9, -4.0], [9, 0.1], [9, 0.0]])
    drawn = draw_contributions(IMAGE, table, class_index=1)
    assert drawn.shape == IMAGE.shape
    # The left edges at half height, x = 50 and 300.
    assert run_length(drawn[100, 45:56], FOR) == 5
    assert run_length(drawn[100, 295:306], AGAINST) == 5
    assert run_length(drawn[350, 45:56], FOR) == 1
    assert (drawn[280:420, 280:420] == 100).all()  # no contribution, no box


def test_only_the_strongest_are_drawn_and_numbered(monkeypatch):
    texts = written(monkeypatch)
    monkeypatch.setattr(overlay, "MOST_BOXES", 2)
    drawn = draw_contributions(IMAGE, ranked([[0.5], [-2.0], [1.234], [0.1]]), 0)
    assert list(texts) == ["-2", "+1.2"]
    assert (drawn[40:160, 40:160] == 100).all() and (drawn[280:420, 280:420] == 100).all()


def test_attention_stands_behind_the_contribution(monkeypatch):
    texts = written(monkeypatch)
    table = replace(ranked([[0.5], [-2.0]]), attention=np.array([0.25, 0.75], np.float32))
    draw_contributions(IMAGE, table, 0)
    assert list(texts) == ["-2, 75.0%", "+0.5, 25.0%"]


def test_small_slices_are_enlarged():
    image = np.full((128, 160, 3), 100, np.uint8)
    drawn = draw_contributions(image, ranked([[1.0]], [[10, 20, 50, 60]]), 0)
    assert drawn.shape == (512, 640, 3)
    edge = (drawn[160] == FOR).all(axis=-1).nonzero()[0]
    assert abs(edge.min() - 40) <= 2 and abs(edge.max() - 199) <= 2


def test_numbers_of_boxes_in_one_place_do_not_cover_each_other(monkeypatch):
    texts = written(monkeypatch)
    values = np.arange(20, 0, -1, dtype=np.float32)[:, None]
    draw_contributions(IMAGE, ranked(values, [BOXES[0]] * 20), 0)
    areas = list(texts.values())
    assert next(iter(texts)) == "+20" and 4 <= len(texts) < 16
    for i, (x0, y0, x1, y1) in enumerate(areas):
        assert x0 >= 0 and y0 >= 0 and x1 < 512 and y1 < 512
        for other in areas[:i]:
            assert x0 > other[2] or x1 < other[0] or y0 > other[3] or y1 < other[1]


@pytest.mark.parametrize("box", [[0, 0, 512, 512], [500, 500, 512, 512], [0, 0, 0, 0]])
def test_boxes_at_the_border_keep_their_numbers_inside(monkeypatch, box):
    texts = written(monkeypatch)
    drawn = draw_contributions(IMAGE, ranked([[1.0]], [box]), 0)
    assert list(texts) == ["+1"]
    assert (drawn == 0).all(axis=-1).sum() > 100  # the number's black ground


@pytest.mark.parametrize("contributions", [np.zeros((0, 3)), np.zeros((4, 3))])
def test_nothing_to_show_leaves_the_slice(contributions):
    assert (draw_contributions(IMAGE, ranked(contributions), 2) == 100).all()


def test_the_slice_is_not_changed():
    image = IMAGE.copy()
    draw_contributions(image, ranked([[1.0]]), 0)
    assert (image == IMAGE).all()
