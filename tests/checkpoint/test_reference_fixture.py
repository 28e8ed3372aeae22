"""Converted checkpoints give what the author's own code computed from them.

Recorded answers are no part of the repository: each folder of ../shared/reference, or of
$CTMASKNET_REFERENCE, with segmentation.pth, classifier.pth and io.pt is one case.
"""

import os
from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model
from reference_layout import author_network, author_weights

from ctmasknet.checkpoint import load_weights
from ctmasknet.checkpoint.convert import convert_reference_checkpoint
from ctmasknet.data.mapper import build_test_resize
from ctmasknet.engine import load_config

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

REFERENCE = Path(
    os.environ.get("CTMASKNET_REFERENCE")
    or Path(__file__).resolve().parents[3] / "shared" / "reference"
)
FILES = ("segmentation.pth", "classifier.pth", "io.pt")
CASES = sorted(
    folder for folder in REFERENCE.glob("*") if all((folder / file).is_file() for file in FILES)
)
# Of five images, to save time; the last one is not square and is resized.
SQUARE, ODD = 0, 4


@pytest.fixture(
    scope="module",
    params=CASES
    or [pytest.param(None, marks=pytest.mark.skip(f"no recorded answers in {REFERENCE}"))],
    ids=lambda folder: folder.name if folder else "none",
)
def case(request):
    recorded = torch.load(request.param / "io.pt", weights_only=True)
    return request.param, recorded, [*recorded["images"], recorded["image_odd"]]


class Converted:
    """A converted file's model, which also keeps what it computes on the way."""

    def __init__(self, source, target):
        convert_reference_checkpoint(source, target)
        self.cfg = load_config(
            str(target.with_suffix(".yaml")), ["MODEL.DEVICE", "cpu"], datasets=False
        )
        self.model = build_model(self.cfg).eval()
        load_weights(self.model, self.cfg.MODEL.WEIGHTS)
        self.resize = build_test_resize(self.cfg)

    @torch.no_grad()
    def __call__(self, image, dtype):
        kept = {}

        def keep_proposals(module, inputs, output):
            kept["proposals"] = output[0][0].proposal_boxes.tensor

        def keep_masks(module, inputs, output):
            kept["mask_logits"] = output[0].pred_masks.tensor.clone()

        model = self.model.to(dtype)
        hooks = [model.proposal_generator.register_forward_hook(keep_proposals)]
        if self.cfg.MODEL.MASK_ON:
            hooks.append(model.roi_heads.mask_head.register_forward_hook(keep_masks))
        image = image.numpy()
        resized = self.resize.get_transform(image).apply_image(image)
        tensor = torch.from_numpy(resized.transpose(2, 0, 1).copy())
        height, width = image.shape[:2]
        (output,) = model([{"image": tensor, "height": height, "width": width}])
        for hook in hooks:
            hook.remove()
        return {**output, **kept}


@pytest.fixture(scope="module")
def classifier(case, tmp_path_factory):
    return Converted(case[0] / "classifier.pth", tmp_path_factory.mktemp("ours") / "c.pth")


@pytest.fixture(scope="module")
def lesion_model(case, tmp_path_factory):
    return Converted(case[0] / "segmentation.pth", tmp_path_factory.mktemp("ours") / "s.pth")


def largest_difference(ours, theirs):
    assert ours.shape == theirs.shape
    return (ours.double() - theirs.double()).abs().max().item()


@pytest.mark.parametrize("index", [SQUARE, ODD])
def test_classifier_in_float64(case, classifier, index):
    _, recorded, images = case
    theirs = recorded["classifier"][index]
    ours = classifier(images[index], torch.float64)
    ranked = ours["ranked_boxes"]
    assert largest_difference(ours["proposals"], theirs["proposals"]) < 1e-9
    assert (ranked.classes + 1).tolist() == theirs["ranked_labels"].tolist()
    assert largest_difference(ranked.rows, theirs["ranked_boxes"]) < 1e-6
    assert largest_difference(ranked.boxes, theirs["ranked_decoded_boxes"]) < 1e-6
    assert largest_difference(ours["image_logits"], theirs["class_logits"]) < 1e-6


@pytest.mark.parametrize("index", [SQUARE, ODD])
def test_classifier_in_float32(case, classifier, index):
    _, recorded, images = case
    theirs = recorded["classifier"][index]
    ours = classifier(images[index], torch.float32)
    assert ours["image_logits"].dtype == torch.float32
    assert largest_difference(ours["ranked_boxes"].rows, theirs["ranked_boxes"]) < 1e-3
    assert largest_difference(ours["image_logits"], theirs["class_logits"]) < 1e-3


def test_lesion_model_in_float64(case, lesion_model):
    _, recorded, images = case
    theirs = recorded["segmentation"][ODD]
    ours = lesion_model(images[ODD], torch.float64)
    assert largest_difference(ours["proposals"], theirs["proposals"]) < 1e-9
    lesions = ours["instances"]
    assert len(lesions) == len(theirs["boxes"]) > 0
    # As sets: scores can tie.
    values = [
        torch.cat([boxes.double(), scores[:, None], labels[:, None]], dim=1)
        for boxes, scores, labels in (
            (lesions.pred_boxes.tensor, lesions.scores, lesions.pred_classes + 1),
            (theirs["boxes"], theirs["scores"], theirs["labels"]),
        )
    ]
    distance, partner = torch.cdist(*values, p=torch.inf).min(dim=1)
    assert sorted(partner.tolist()) == list(range(len(lesions)))
    # Detectron2's boxes of the image are float32.
    assert distance.max() < 1e-4
    assert largest_difference(lesions.scores, theirs["scores"][partner]) < 1e-9
    mask_logits = theirs["mask_logits_28"][partner, 0]
    assert largest_difference(ours["mask_logits"], mask_logits) < 1e-4  # recorded in float32
    areas = lesions.pred_masks.flatten(1).sum(dim=1)
    assert areas.tolist() == theirs["pasted_area_gt_half"][partner].tolist()


@pytest.mark.parametrize(
    ("name", "lesion_classes", "kind", "options"),
    [
        ("R18_T1", 1, "r18t1_seg", {}),
        ("R18_T1", 1, "r18t1_cls", {"ranked": 128, "fc_dim": 512}),
        ("R50", 2, "r50_seg", {}),
        ("R50", 2, "r50_cls", {"ranked": 256, "fc_dim": 1024}),
    ],
)
def test_generated_checkpoints_have_the_authors_tensors(name, lesion_classes, kind, options):
    """Check the tensors that the other tests of conversion are made of."""
    listed = REFERENCE / f"keys_{kind}.txt"
    if not listed.is_file():
        pytest.skip(f"no {listed}")
    mask_width = 256 if name == "R50" else 128
    network = author_network(name, lesion_classes, 256, mask_width)
    weights = author_weights(network, **options)
    made = {f"{key} {tuple(x.shape)} {x.dtype}".replace("torch.", "") for key, x in weights.items()}
    lines = listed.read_text().splitlines()
    assert made == {line.rsplit(" ", 1)[0] for line in lines if not line.startswith("#")}
