"""Converted checkpoints give the answers of torchvision's Mask R-CNN under the author's rules."""

import numpy as np
import pytest
import torch
from PIL import Image
from reference_layout import author_network, author_weights, write_reference_checkpoint
from reference_oracle import (
    IMAGES,
    RANKED,
    SIDE,
    author_input,
    author_ranking,
    calibrated,
    check_lesions,
    check_ranking,
    converted,
    converted_file,
    slice_of,
)
from torchvision.transforms.functional import resize

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

NAMES = ("R50", "R34_T1", "R18", "R18_T2")


@pytest.fixture(scope="module", params=NAMES)
def network(request):
    torch.manual_seed(NAMES.index(request.param))
    return calibrated(author_network(request.param))


@pytest.fixture(scope="module")
def classifier(network, tmp_path_factory):
    weights = author_weights(network.float(), RANKED)
    return weights, converted(tmp_path_factory.mktemp("classifier"), weights, legacy=True)


def test_lesions_are_the_authors(network, tmp_path):
    predict = converted(tmp_path, author_weights(network.float()))
    for image in IMAGES.values():
        theirs, masks = check_lesions(network, predict, image)
        # There is something to see: both classes, scores of all sizes, masks of all shapes.
        assert theirs["labels"].unique().tolist() == [1, 2]
        x0, y0, x1, y1 = theirs["boxes"].T
        assert 0.2 < masks.sum() / ((x1 - x0) * (y1 - y0)).sum() < 0.8


@pytest.mark.parametrize(
    ("shape", "dtype", "tolerance"),
    [
        ("square", torch.float64, 1e-9),
        ("odd", torch.float64, 1e-9),
        ("square", torch.float32, 1e-3),
    ],
)
def test_ranked_rows_and_image_logits_are_the_authors(network, classifier, shape, dtype, tolerance):
    weights, predict = classifier
    check_ranking(network, weights, predict, IMAGES[shape], dtype, tolerance)


@pytest.mark.parametrize("shape", [(121, 93), (100, 128), (20, 200)], ids=["odd", "wide", "long"])
def test_images_resized_by_pillow_first_are_the_authors(tmp_path, shape):
    """As in his script that evaluates classifiers; his network makes the long one smaller again."""
    torch.manual_seed(0)
    network, image = calibrated(author_network("R18_T2")), slice_of(shape)
    weights = author_weights(network, RANKED)
    file = write_reference_checkpoint(tmp_path / "theirs.pth", weights)
    resized = resize(Image.fromarray(image), [SIDE])
    predict = converted_file(file, tmp_path / "ours.pth", pil_resize=True)
    check = [network, weights, predict, image, torch.float64, 1e-9]
    logits = check_ranking(*check, np.asarray(resized))
    check[2] = converted_file(file, tmp_path / "ours.pth")
    assert (logits - check_ranking(*check)).abs().max() > 1e-3


def test_the_judge_would_see_a_wrong_order_class_or_choice(network):
    image = author_input(IMAGES["square"], torch.float64)
    ranking = author_ranking(network.double(), image)
    scores = ranking["scores"]
    assert scores.min() < 0.1 and scores.max() > 0.9 and scores.std() > 0.15
    assert scores.numel() > 10 * RANKED and set(ranking["classes"]) == {1, 2}
    assert ranking["rows"][:, 1:].std() > 0.3
    assert ranking["empty"] > 10  # proposals without area
