"""What ranked boxes carry beside their rows, from the network to the image head and its cache."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import batch, fast_model, tiny_cfg, tiny_model

from ctmasknet.engine.ranked_cache import ranked_boxes
from ctmasknet.engine.ranked_file import key_of_rows
from ctmasknet.modeling.occlusion import share_of_boxes

pytestmark = pytest.mark.slow  # whole networks

HEADS = ["RankedBoxHead", "PooledBoxHead", "AttentionBoxHead", "SetBoxHead"]
FEATURES = ("MODEL.RANKED_BOXES.FEATURES", "box_head")
WHOLE = ("MODEL.IMAGE_HEAD.GLOBAL_FEATURES", True)
BOTH = (*FEATURES, *WHOLE, "MODEL.ROI_HEADS.NUM_CLASSES", 2)


def test_features_are_the_box_heads_vectors_of_the_boxes_rois():
    model = tiny_model("ctmasknet", *FEATURES).eval()
    with torch.no_grad():
        images, levels = model.extract_features(batch(2))
        proposals, _ = model.proposal_generator(images, levels, None)
        ranked, predictions = model.roi_heads.rank(levels, proposals)
        picks = model.roi_heads.choose(predictions, proposals)
        for i, pick in enumerate(picks):
            boxes = [p.proposal_boxes for p in proposals]
            boxes[i] = boxes[i][pick.roi]
            vectors = model.roi_heads.box_features([levels["p4"]], boxes)
            vectors = vectors.split([len(x) for x in boxes])[i]
            own = ranked[i].distinct()
            torch.testing.assert_close(own.features, vectors)
            torch.testing.assert_close(own.boxes, pick.box)
            assert own.features.std() > 0


def test_global_features_are_the_mean_of_the_map_without_padding():
    model = tiny_model("ctmasknet", *WHOLE).eval()
    small = batch(1, size=(64, 64))[0]
    large = batch(1, size=(96, 128), seed=1)[0]
    with torch.no_grad():
        (alone,) = model([small])
        together = model([small, large])
        _, levels = model.extract_features([small])
    torch.testing.assert_close(
        alone["ranked_boxes"].global_features, levels["p4"][0].mean((1, 2)), rtol=1e-5, atol=1e-6
    )
    whole = [x["ranked_boxes"].global_features for x in together]
    assert whole[0].shape == whole[1].shape == (256,)
    _, levels = model.extract_features([small, large])
    assert levels["p4"].shape[-2:] == (6, 8)
    torch.testing.assert_close(whole[0], levels["p4"][0, :, :4, :4].mean((1, 2)))
    torch.testing.assert_close(whole[1], levels["p4"][1].mean((1, 2)))


@pytest.mark.parametrize("name", HEADS)
def test_every_head_trains_all_that_it_should(name):
    opts = ("MODEL.IMAGE_HEAD.NAME", name, "MODEL.TRAINABLE", "full")
    gradients = []
    for build in (tiny_model, fast_model):
        model = build("ctmasknet", *BOTH, *opts).double()
        losses = model(batch())
        assert list(losses) == ["loss_image"]
        losses["loss_image"].backward()
        own = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
        assert all(x is not None for x in own.values())
        assert own["roi_heads.box_head.fc1.weight"].abs().sum() > 0
        gradients.append(own)
    for parameter, gradient in gradients[0].items():  # of kept RoIs alone, in microbatches
        torch.testing.assert_close(gradients[1][parameter], gradient, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("name", HEADS)
def test_a_cache_gives_every_head_what_the_network_does(name, tmp_path):
    opts = ("MODEL.IMAGE_HEAD.NAME", name, "MODEL.TRAINABLE", "heads", "OUTPUT_DIR", str(tmp_path))
    opts += ("INPUT.MIN_SIZE_TEST", 48, "DATALOADER.NUM_WORKERS", 0, *BOTH)
    records = []
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (48, 48), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        records.append({"file_name": str(tmp_path / f"{i}.png"), "label": i})
    model = fast_model("ctmasknet", *opts)
    kept = ranked_boxes(tiny_cfg("ctmasknet", *opts), model, "set", records, training=False)
    again = ranked_boxes(tiny_cfg("ctmasknet", *opts), model, "set", records, training=False)
    assert len(list((tmp_path / "ranked_boxes").iterdir())) == 1
    model.eval()
    for record in records:
        own = kept[record["file_name"]]
        assert own.features.shape == (own.counts, 128) and own.global_features.shape == (256,)
        for part, tensor in own.tensors().items():
            assert torch.equal(again[record["file_name"]].tensors()[part], tensor)
        pixels = torch.from_numpy(np.array(Image.open(record["file_name"])))
        with torch.no_grad():
            (expected,) = model([{"image": pixels.expand(3, -1, -1)}])
            (found,) = model([{"ranked_boxes": own}])
        torch.testing.assert_close(
            found["image_logits"], expected["image_logits"], rtol=0, atol=1e-4
        )
    share = share_of_boxes(model.image_head, expected["ranked_boxes"])
    assert ((share > 0) & (share < 1)).all()


@pytest.mark.parametrize("more", [FEATURES, WHOLE])
def test_a_file_made_without_features_is_not_that_of_a_model_with_them(more):
    keys = [
        key_of_rows(tiny_cfg("ctmasknet", *opts), tiny_model("ctmasknet"), [], training=False)
        for opts in ((), more)
    ]
    assert keys[0] != keys[1]


def test_unknown_features_name_the_valid_ones():
    with pytest.raises(ValueError, match="FEATURES is 'mask_head'; valid are , box_head"):
        tiny_model("ctmasknet", "MODEL.RANKED_BOXES.FEATURES", "mask_head")
