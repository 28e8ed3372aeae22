import numpy as np

from ctmasknet.report.overlay import COLOURS, draw_lesions
from ctmasknet.report.panels import save_panels

IMAGE = np.full((256, 300, 3), 100, np.uint8)


def test_box_and_mask_lie_on_their_pixels():
    mask = np.zeros((1, 256, 300), bool)
    mask[0, 20:40, 10:50] = True
    drawn = draw_lesions(IMAGE, np.array([[10.0, 20, 50, 40]]), [0], mask)
    assert drawn.shape == (512, 600, 3)
    changed = np.argwhere((drawn != 100).any(axis=-1))
    # Rows 20 to 39 and columns 10 to 49, enlarged by two.
    assert changed.min(axis=0).tolist() == [40, 20]
    assert changed.max(axis=0).tolist() == [79, 99]
    assert tuple(drawn[40, 20]) == COLOURS[0]
    assert tuple(drawn[60, 60]) == tuple(int(0.75 * 100 + 0.25 * c) for c in COLOURS[0])


def test_no_lesion_leaves_the_image():
    drawn = draw_lesions(IMAGE, np.empty((0, 4)), [])
    assert (drawn == 100).all()


def test_labels_stay_inside_the_picture():
    boxes = np.array([[0.0, 0, 5, 5], [290, 250, 300, 256]])
    drawn = draw_lesions(IMAGE, boxes, [0, 1], labels=["lesion 0.99"] * 2)
    assert (drawn == 0).any()


def test_labels_of_boxes_with_the_same_corner_do_not_cover_each_other():
    boxes = np.array([[100.0, 100, 200, 150], [100, 100, 180, 200]])
    best = draw_lesions(IMAGE, boxes, [0, 1], labels=["GGO 0.90", ""])
    both = draw_lesions(IMAGE, boxes, [0, 1], labels=["GGO 0.90", "C 0.60"])
    place = (slice(180, 200), slice(200, 270))  # above the corner, of the picture twice as large
    assert (both[place] == 0).all(axis=-1).sum() > 100
    assert (both[place] == best[place]).all()
    assert (both != best).any()  # the other text is elsewhere


def test_labels_without_room_are_left_out():
    boxes = np.full((30, 4), 100.0) + [0, 0, 20, 20]
    some = draw_lesions(IMAGE, boxes[:20], [0] * 20, labels=["lesion 0.99"] * 20)
    more = draw_lesions(IMAGE, boxes, [0] * 30, labels=["lesion 0.99"] * 30)
    assert (some == more).all()


def test_figure_is_written(tmp_path):
    path = tmp_path / "a" / "panels.png"
    save_panels(path, [("left", IMAGE), ("right", IMAGE)], "title")
    assert path.read_bytes().startswith(b"\x89PNG")
