import numpy as np
import pycocotools.mask as mask_util

from ctmasknet.figures import lesion_colour, rgb
from ctmasknet.inference.predictions import Instance
from ctmasknet.report.overlay import draw_instances
from ctmasknet.report.panels import save_panels
from ctmasknet.report.picture_text import text_picture

IMAGE = np.full((256, 300, 3), 100, np.uint8)
FIRST, SECOND = rgb(lesion_colour(0)), rgb(lesion_colour(1))


def draw(boxes, labels=(), classes=("GGO", "C")):
    found = [Instance(name, 1, box) for box, name in zip(boxes, classes * 30, strict=False)]
    return draw_instances(IMAGE, found, classes, labels)


def test_box_and_mask_lie_on_their_pixels():
    mask = np.zeros((256, 300), np.uint8, order="F")
    mask[20:40, 10:50] = 1
    found = Instance("lesion", 0.9, (10.0, 20.0, 50.0, 40.0), mask_util.encode(mask))
    drawn = draw_instances(IMAGE, [found], ["lesion"], labels=())
    assert drawn.shape == (512, 600, 3)
    changed = np.argwhere((drawn != 100).any(axis=-1))
    # Rows 20 to 39 and columns 10 to 49, enlarged by two.
    assert changed.min(axis=0).tolist() == [40, 20]
    assert changed.max(axis=0).tolist() == [79, 99]
    assert tuple(drawn[40, 20]) == FIRST
    assert tuple(drawn[60, 60]) == tuple(int(0.75 * 100 + 0.25 * c) for c in FIRST)


def test_a_box_alone_has_the_colour_of_its_class():
    drawn = draw_instances(IMAGE, [Instance("C", 1, (10, 20, 50, 40))], ["GGO", "C"], ())
    assert tuple(drawn[60, 60]) == (100, 100, 100)
    assert tuple(drawn[79, 99]) == SECOND


def test_no_lesion_leaves_the_image():
    assert (draw([]) == 100).all()


def test_labels_stay_inside_the_picture():
    drawn = draw([(0, 0, 5, 5), (290, 250, 300, 256)], ["lesion 0.99"] * 2)
    assert (drawn == 0).any()


def test_labels_have_letters_of_other_languages_and_are_not_cut_off():
    black = (0, 0, 0)
    german, broken = text_picture("ö", (9, 9, 9), 512), text_picture("\ufffd", (9, 9, 9), 512)
    assert german.shape != broken.shape or (german != broken).any()
    name = "pleural effusion with septations and debris 0.93"
    line, lines = (
        text_picture(name, (255, 255, 255), 2000),
        text_picture(name, (255, 255, 255), 256),
    )
    assert lines.shape[1] <= 256 < line.shape[1] and lines.shape[0] > line.shape[0]
    for picture in (line, lines):  # nothing at the border: no letter is cut
        assert (
            np.concatenate([picture[0], picture[-1], picture[:, -1], picture[:, 0]]) == black
        ).all()
    drawn = draw_instances(IMAGE, [Instance("n" * 60, 1, (280, 20, 299, 40))], ["n" * 60, "C"])
    assert drawn.shape == (512, 600, 3) and (drawn == 0).all(axis=-1).any()


def test_labels_of_boxes_with_the_same_corner_do_not_cover_each_other():
    boxes = [(100, 100, 200, 150), (100, 100, 180, 200)]
    best = draw(boxes, ["GGO 0.90", ""])
    both = draw(boxes, ["GGO 0.90", "C 0.60"])
    place = (slice(180, 200), slice(200, 270))  # above the corner, of the picture twice as large
    assert (both[place] == 0).all(axis=-1).sum() > 100
    assert (both[place] == best[place]).all()
    assert (both != best).any()  # the other text is elsewhere


def test_labels_without_room_are_left_out():
    boxes = [(100, 100, 120, 120)] * 30
    some = draw(boxes[:20], ["lesion 0.99"] * 20, ["lesion"])
    more = draw(boxes, ["lesion 0.99"] * 30, ["lesion"])
    assert (some == more).all()


def test_figure_is_written(tmp_path):
    path = tmp_path / "a" / "panels.png"
    save_panels(path, [("left", IMAGE), ("right", IMAGE)], "title")
    assert path.read_bytes().startswith(b"\x89PNG")
