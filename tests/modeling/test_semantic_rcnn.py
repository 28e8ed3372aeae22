import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage
from tiny_models import batch, small_cfg
from torch.nn import functional as F

from ctmasknet.data.window import Window
from ctmasknet.fast import accelerate
from ctmasknet.modeling.density_classes import DensityClasses
from ctmasknet.modeling.pixels_to_instances import ImageMasks, join

SIZE = (24, 32)


def probabilities(*areas):
    """Class probabilities (3, H, W): background, but (class, probability, x0, y0, x1, y1)."""
    probs = torch.zeros(3, *SIZE)
    probs[2] = 1
    for label, p, x0, y0, x1, y1 in areas:
        probs[:, y0:y1, x0:x1] = 0
        probs[label, y0:y1, x0:x1] = p
        probs[2, y0:y1, x0:x1] = 1 - p
    return probs


def detections(*found):
    """Boxes that are all mask: (class, score, x0, y0, x1, y1)."""
    made = Instances(SIZE)
    made.pred_boxes = Boxes(torch.tensor([x[2:] for x in found]).view(-1, 4).float())
    made.scores = torch.tensor([float(x[1]) for x in found])
    made.pred_classes = torch.tensor([x[0] for x in found], dtype=torch.int64)
    made.pred_masks = torch.full((len(found), 1, 28, 28), 5.0)
    return made


def rows(instances):
    boxes = instances.pred_boxes.tensor.int().tolist()
    found = zip(instances.pred_classes.tolist(), instances.scores.tolist(), boxes, strict=True)
    return [(label, round(score, 3), *box) for label, score, box in found]


def test_a_component_is_an_instance_and_a_detection_of_its_pixels_none():
    probs = probabilities((0, 0.7, 4, 4, 14, 16))
    found = detections((0, 0.9, 4, 4, 14, 14), (1, 0.9, 4, 4, 9, 14), (0, 0.9, 9, 4, 19, 14))
    joined = join(found, probs, 10)  # the last is half in it
    assert rows(joined) == [(0, 0.7, 4, 4, 14, 16)]
    assert joined.pred_masks.tensor.sum() == 120


def test_a_detection_elsewhere_has_the_product_of_two_opinions():
    probs = probabilities((0, 0.8, 4, 4, 14, 14), (1, 0.4, 20, 4, 30, 14))
    found = detections((1, 0.9, 20, 4, 30, 14), (1, 0.6, 4, 13, 14, 23), (0, 1.0, 20, 4, 30, 14))
    # The last two: of a class that the branch gives no probability there.
    assert rows(join(found, probs, 10)) == [
        (0, 0.8, 4, 4, 14, 14),
        (1, 0.36, 20, 4, 30, 14),
        (1, 0.0, 4, 13, 14, 23),
        (0, 0.0, 20, 4, 30, 14),
    ]


def test_the_threshold_is_of_any_lesion():
    probs = probabilities((0, 0.4, 4, 4, 14, 14))
    probs[:2, 4:14, 4:14] = torch.tensor([0.15, 0.25])[:, None, None]
    found = detections((0, 0.9, 4, 4, 14, 14))
    assert rows(join(found, probs, 10, 0.3)) == [(1, 0.25, 4, 4, 14, 14)]
    assert rows(join(found, probs, 10, 0.5)) == [(0, 0.135, 4, 4, 14, 14)]


def test_components_touch_by_corners_and_small_ones_are_left_out():
    areas = [(0, 0.8, 0, 0, 5, 5), (0, 0.8, 5, 5, 10, 10), (0, 0.8, 20, 20, 23, 23)]
    assert rows(join(detections(), probabilities(*areas), 9)) == [(0, 0.8, 0, 0, 10, 10)]
    assert len(join(detections(), probabilities(*areas), 8)) == 2
    assert len(join(detections(), probabilities(), 0)) == 0


def test_masks_of_the_input_are_resized_to_the_slice():
    mask = torch.zeros(1, *SIZE, dtype=torch.bool)
    mask[0, 6:12, 8:16] = True
    masks = ImageMasks(mask).to("cpu")[torch.tensor([True])]
    pasted = masks.to_bitmasks(Boxes(torch.zeros(1, 4)), 48, 64).tensor
    assert pasted[0, 12:24, 16:32].all() and pasted.sum() == 4 * 48
    assert masks[:0].to_bitmasks(Boxes(torch.zeros(0, 4)), 48, 64).tensor.shape == (0, 48, 64)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    cfg = small_cfg("recipe/semantic_R18_T1", "MODEL.SEM_SEG_HEAD.MIN_AREA", 0)
    return build_model(cfg)


def lesions_of(size):
    made = Instances(size)
    made.gt_classes = torch.tensor([0, 1])
    made.gt_boxes = Boxes(torch.tensor([[4.0, 4, 40, 40], [30, 44, 60, 60]]))
    masks = torch.zeros(2, *size, dtype=torch.bool)
    masks[0, 4:40, 4:40] = masks[1, 44:60, 30:60] = True
    made.gt_masks = BitMasks(masks)
    return made


def test_training_adds_the_branchs_losses_and_teaches_all_levels(model):
    inputs = [{**x, "instances": lesions_of((64, 64))} for x in batch()]
    with EventStorage():
        losses = model.train()(inputs)
    assert {"loss_sem_seg", "loss_sem_dice", "loss_mask", "loss_rpn_cls"} <= set(losses)
    (losses["loss_sem_seg"] + losses["loss_sem_dice"]).backward()
    for level in (2, 3, 4):
        assert getattr(model.backbone, f"fpn_output{level}").weight.grad.abs().sum() > 0
    model.zero_grad()


def test_the_detector_learns_in_every_so_many_th_iteration(model):
    inputs = [{**x, "instances": lesions_of((64, 64))} for x in batch()]
    model.train().detector_period = 3
    found = []
    for iteration in (3, 4, 5, 6):
        with EventStorage(iteration):
            found.append(set(model(inputs)))
    model.detector_period = 1
    branch = {"loss_sem_seg", "loss_sem_dice"}
    assert found[1] == found[2] == branch
    assert found[0] == found[3] > branch | {"loss_mask", "loss_rpn_cls"}


def test_a_period_of_no_iteration_is_refused():
    with pytest.raises(ValueError, match="DETECTOR_PERIOD"):
        build_model(small_cfg("recipe/semantic_R18_T1", "MODEL.SEM_SEG_HEAD.DETECTOR_PERIOD", 0))


def test_accelerated_it_finds_the_same(model):
    images = [{**x, "image": F.avg_pool2d(x["image"], 3, 1, 1).byte()} for x in batch(3)]
    model.eval()
    with torch.no_grad():
        plain = model(images)
        fast = accelerate(model)(images)
    assert any(len(x["instances"]) for x in plain)
    for one, other in zip(plain, fast, strict=True):
        a, b = one["instances"], other["instances"]
        torch.testing.assert_close(a.scores, b.scores, rtol=1e-4, atol=1e-5)
        assert (a.pred_masks != b.pred_masks).float().mean() < 0.01


def test_the_mirrored_image_has_half_the_say(model):
    (image,) = batch(1, size=(40, 60))  # padded to 64 x 64
    flipped = {**image, "image": image["image"].flip(-1)}
    model.eval()
    with torch.no_grad():
        plain, other = (
            model.pixel_probabilities(*model.extract_features([x]))[0] for x in (image, flipped)
        )
        model.mirror = True
        (found,) = model.pixel_probabilities(*model.extract_features([image]))
        model.mirror = False
    assert plain.shape == (3, 40, 60)
    torch.testing.assert_close(found, (plain + other.flip(-1)) / 2)


def test_density_tells_the_classes_of_lesion_pixels():
    tell = DensityClasses([-400.0], 2, Window(1020, -490))  # 4 HU a grey value, from -1000
    image = torch.full((3, *SIZE), 100.0)  # -600 HU
    image[:, :, 20:] = 150.0
    told = tell(probabilities((1, 0.5, 0, 0, 32, 24)), image)
    assert told[:, 5, 2].tolist() == pytest.approx([0.5 * 0.982, 0.5 * 0.018, 0.5], abs=1e-3)
    assert told[:, 5, 30].tolist() == pytest.approx([0.25, 0.25, 0.5], abs=1e-5)  # at the cut
    assert told.sum(dim=0).allclose(torch.ones(SIZE))
    image[:, 8, 8] = 255.0  # a vessel
    assert tell(told, image)[0, 8, 8] > 0.4
    assert tell(told[:, :1, :1], image[:, :1, :1]).shape == (3, 1, 1)


def test_density_tells_three_classes_in_their_order():
    tell = DensityClasses([-600.0, -200.0], 3, Window(1020, -490))
    image = torch.tensor([50.0, 150, 240]).repeat_interleave(30).expand(1, 9, 90)
    probs = torch.full((4, 9, 90), 0.25)
    assert tell(probs, image).argmax(dim=0)[4, [10, 45, 80]].tolist() == [0, 1, 2]


@pytest.mark.parametrize("cuts", [[-400.0, -300.0], [-1400.0]])
def test_cuts_that_are_not_between_the_classes_are_refused(cuts):
    cfg = small_cfg("recipe/semantic_R18_T1", "MODEL.SEM_SEG_HEAD.HU_CUTS", cuts)
    with pytest.raises(ValueError, match="HU_CUTS is .*expected 1 rising HU between 2 classes"):
        build_model(cfg)
