"""torchvision's Mask R-CNN under the author's rules, as the judge of converted checkpoints.

torchvision's detector is other code than Detectron2's (NMS and RoIAlign are shared), so it is an
independent judge: the weights go through a file in the author's layout, the conversion and the
config written beside it.
"""

from contextlib import contextmanager

import pytest
import torch
from detectron2.modeling import build_model
from reference_layout import write_reference_checkpoint
from torch import nn
from torchvision.models.detection import roi_heads
from torchvision.ops import box_iou

from ctmasknet.checkpoint import load_weights
from ctmasknet.checkpoint.convert import convert_reference_checkpoint
from ctmasknet.data.mapper import build_test_resize
from ctmasknet.engine import load_config

SIDE = 128  # short side of the networks' input, to save time; the author's is 512
# The square image keeps its size; the odd one becomes 166 (of 166.5) x 128, padded to 192 x 128.
SHAPES = {"square": (128, 128), "odd": (121, 93)}
RANKED = 48
ROI_NMS = 0.75  # of the classifier


def slice_of(shape, seed=0):
    """A (H, W, 3) uint8 image with coarse and fine structure."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(1, 3, 8, 8, generator=generator)
    image = nn.functional.interpolate(image, size=shape, mode="bilinear")[0]
    image = image + 0.1 * torch.randn(3, *shape, generator=generator)
    return (255 * image.clamp(0, 1)).byte().permute(1, 2, 0).numpy()


IMAGES = {name: slice_of(shape) for name, shape in SHAPES.items()}


def author_input(image, dtype):
    """(3, H, W) in 0..1, by way of float32 as torchvision's ToTensor."""
    return (torch.from_numpy(image).permute(2, 0, 1).float() / 255).to(dtype)


@torch.no_grad()
def calibrated(network):
    """Give random weights whose answers are spread as those of a trained network."""
    network.transform.min_size, network.transform.max_size = (SIDE,), 1024
    network.rpn.min_size = -1  # proposals without area stay
    norms = [m for m in network.backbone.body.modules() if isinstance(m, nn.BatchNorm2d)]
    for module in network.backbone.body.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.mul_(0.1)  # small variances, beside which an epsilon of 1e-5 counts
    for norm in norms:
        norm.train().momentum = 1.0
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.normal_(std=0.2)
    image = author_input(IMAGES["square"], torch.float32)
    network.backbone(network.transform([image])[0].tensors)
    network.eval()
    for norm in norms:
        norm.running_mean.add_(0.1 * norm.running_var.sqrt() * torch.randn(norm.num_features))
        norm.running_var.mul_(torch.empty(norm.num_features).uniform_(0.7, 1.4))

    box, spreads = network.roi_heads, {}
    spreads[network.rpn.head.conv[0][0]] = 1
    spreads[network.rpn.head.cls_logits] = 2
    spreads[network.rpn.head.bbox_pred] = 0.3
    spreads[box.box_head.fc6] = spreads[box.box_head.fc7] = spreads[box.box_predictor.bbox_pred] = 1
    spreads[box.box_predictor.cls_score] = spreads[box.mask_predictor.mask_fcn_logits] = 1.5

    def spread(layer, inputs, output):
        if layer not in spreads:  # the RPN's head sees every level; the first has set it
            return None
        others = [i for i in range(output.dim()) if i != 1]
        std, mean = torch.std_mean(output, others, keepdim=True)
        scale = spreads.pop(layer) / std
        layer.weight.mul_(scale.view(-1, *[1] * (layer.weight.dim() - 1)))
        layer.bias.copy_((layer.bias - mean.flatten()) * scale.flatten())
        return (output - mean) * scale

    handles = [layer.register_forward_hook(spread) for layer in list(spreads)]
    network([image])
    for handle in handles:
        handle.remove()
    return network


@contextmanager
def author_rules():
    """Make torchvision's detector drop only boxes without area, and paste mask logits."""

    def with_area(boxes, min_size):
        return (boxes[:, 2:] - boxes[:, :2] > min(min_size, 0)).all(1).nonzero()[:, 0]

    def own_logits(logits, labels):
        return [logits[torch.arange(len(logits)), torch.cat(labels)][:, None]]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(roi_heads.box_ops, "remove_small_boxes", with_area)
        patch.setattr(roi_heads, "maskrcnn_inference", own_logits)
        yield


@torch.no_grad()
def author_ranking(network, image):
    """Rank the boxes of one image, step by step: rows of score and raw deltas, best first."""
    images, _ = network.transform([image])
    height, width = images.image_sizes[0]
    features = network.backbone(images.tensors)
    heads = network.roi_heads
    with author_rules():
        (proposals,), _ = network.rpn(images, features)
    pooled = heads.box_roi_pool(features, [proposals], images.image_sizes)
    logits, deltas = heads.box_predictor(heads.box_head(pooled))
    probs = logits.softmax(1)
    x0, y0, x1, y1 = proposals.T
    rows = []
    for lesion in range(1, probs.shape[1]):  # 0 is the background
        raw = deltas[:, 4 * lesion : 4 * lesion + 4]
        dx, dy, dw, dh = (raw / raw.new_tensor([10, 10, 5, 5])).T
        limit = torch.tensor(1000 / 16).log()
        x = (x0 + x1) / 2 + dx * (x1 - x0)
        y = (y0 + y1) / 2 + dy * (y1 - y0)
        half_w = (x1 - x0) / 2 * dw.clamp(max=limit).exp()
        half_h = (y1 - y0) / 2 * dh.clamp(max=limit).exp()
        corners = [x - half_w, y - half_h, x + half_w, y + half_h]
        sides = (width, height, width, height)
        boxes = torch.stack([c.clamp(0, m) for c, m in zip(corners, sides, strict=True)], 1)
        left = probs[:, lesion].argsort(descending=True)
        left = left[(boxes[left, 2] > boxes[left, 0]) & (boxes[left, 3] > boxes[left, 1])]
        for _ in range(RANKED):
            best, left = left[0], left[1:]
            rows.append((probs[best, lesion], raw[best], lesion))
            left = left[box_iou(boxes[best, None], boxes[left])[0] <= ROI_NMS]
    rows = sorted(rows, key=lambda row: -row[0].item())[:RANKED]
    return {
        "rows": torch.stack([torch.cat([score[None], raw]) for score, raw, _ in rows]),
        "classes": [lesion for *_, lesion in rows],
        "scores": probs[:, 1:],
        "empty": int(((x1 == x0) | (y1 == y0)).sum()),
    }


def author_image_logits(weights, rows):
    """Module S."""
    x = rows.flatten()
    for layer in ("fc_scores", "fc_scores_2", "fc_scores_img"):
        weight, bias = (weights[f"s2new.{layer}.{k}"].to(x) for k in ("weight", "bias"))
        x = weight @ (x.relu() if layer != "fc_scores" else x) + bias
    return x


def converted(folder, weights, **options):
    """Our model of the author's weights, by way of both files, as a function of image and dtype."""
    source = write_reference_checkpoint(folder / "theirs.pth", weights, **options)
    return converted_file(source, folder / "ours.pth")


def converted_file(source, target, frozen_eps=1e-5, pil_resize=False):
    convert_reference_checkpoint(source, target, frozen_eps=frozen_eps)
    opts = ["MODEL.DEVICE", "cpu", "INPUT.MIN_SIZE_TEST", SIDE, "INPUT.PIL_RESIZE", pil_resize]
    cfg = load_config(str(target.with_suffix(".yaml")), opts, datasets=False)
    model = build_model(cfg).eval().double()
    load_weights(model, cfg.MODEL.WEIGHTS)
    resizing = build_test_resize(cfg)

    @torch.no_grad()
    def predict(image, dtype):
        resized = resizing.get_transform(image).apply_image(image)
        tensor = torch.from_numpy(resized.transpose(2, 0, 1).copy())
        height, width = image.shape[:2]
        return model.to(dtype)([{"image": tensor, "height": height, "width": width}])[0]

    predict.cfg = cfg
    return predict


def check_ranking(network, weights, predict, image, dtype, tolerance, resized=None):
    """Check that rows, classes and image logits are the author's; return the logits.

    `resized` is the image as the author's network gets it, if that is another.
    """
    theirs = image if resized is None else resized
    theirs = author_ranking(network.to(dtype), author_input(theirs, dtype))
    ours = predict(image, dtype)
    rows, found = theirs["rows"], ours["ranked_boxes"]
    classes = torch.tensor(theirs["classes"])
    assert found.counts == RANKED
    assert rows.dtype == found.rows.dtype == dtype
    if dtype == torch.float32:  # neighbours whose scores differ by less than noise: any order
        order = (found.classes + 1 != classes).nonzero()[:, 0]
        for i, j in order.reshape(-1, 2).tolist():
            assert j == i + 1 and rows[i, 0] - rows[j, 0] < 3e-5
            rows[[i, j]], classes[[i, j]] = rows[[j, i]], classes[[j, i]]
    assert (found.classes + 1).tolist() == classes.tolist()
    torch.testing.assert_close(found.rows, rows, rtol=0, atol=tolerance)
    logits = author_image_logits(weights, rows)
    torch.testing.assert_close(ours["image_logits"], logits, rtol=0, atol=tolerance)
    return logits


def check_lesions(network, predict, image):
    """Check that lesions are the author's, in float64; return his, and his masks in our order."""
    with author_rules(), torch.no_grad():
        (theirs,) = network.double()([author_input(image, torch.float64)])
    ours = predict(image, torch.float64)["instances"]
    assert len(ours) == len(theirs["boxes"]) == 128
    # Sub-cell proposals at one place share their features, so scores can tie: any order.
    values = [
        torch.cat([boxes, scores[:, None], labels[:, None]], dim=1)
        for boxes, scores, labels in (
            (ours.pred_boxes.tensor.double(), ours.scores, ours.pred_classes + 1),
            (theirs["boxes"], theirs["scores"], theirs["labels"]),
        )
    ]
    distance, partner = torch.cdist(*values, p=torch.inf).min(dim=1)
    assert sorted(partner.tolist()) == list(range(128))
    # The boxes of the image are float32 in Detectron2, and torchvision's scale is.
    assert distance.max() < 1e-4
    assert (ours.scores - theirs["scores"][partner]).abs().max() < 1e-9
    masks = theirs["masks"][partner, 0] > 0.5
    assert torch.equal(ours.pred_masks, masks)
    return theirs, masks
