"""torchvision's ResNets become the backbones of lesion models and compute the same."""

import re

import pytest
import torch
import torchvision
from detectron2.modeling import build_model
from tiny_models import CONFIG_FOLDER
from torch import nn

from ctmasknet import get_cfg
from ctmasknet.checkpoint import load_weights, read_checkpoint
from ctmasknet.checkpoint.convert import convert_torchvision_checkpoint
from ctmasknet.checkpoint.loading import BACKBONE, NEW_IN_LESION_MODEL

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

# Lesion configs by depth, and how many tensors their backbones have: convolutions x (its weight,
# four numbers and a counter of its norm).
TENSORS = {
    18: {"R18": 20 * 6, "R18_T1": 15 * 6, "R18_T2": 10 * 6},
    34: {"R34": 36 * 6, "R34_T1": 29 * 6, "R34_T2": 16 * 6},
    50: {"R50_both": 53 * 6, "R50_ggo": 53 * 6, "R50_merge": 53 * 6},
}
COMPARED = [
    (depth, config)
    for depth, configs in TENSORS.items()
    for config in configs
    if config not in ("R50_both", "R50_ggo")  # the same network
]


def random_resnet(depth):
    torch.manual_seed(depth)
    network = getattr(torchvision.models, f"resnet{depth}")(weights=None).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 4)
            nn.init.uniform_(module.weight, 0.2, 1)
            nn.init.normal_(module.bias)
    return network


def names_of(architecture):
    """A state dict's names with a number for each tensor, which takes no time and no space."""
    with torch.device("meta"):
        names = getattr(torchvision.models, architecture)(weights=None).state_dict()
    return {name: torch.zeros(()) for name in names}


@pytest.fixture(scope="module")
def resnets(tmp_path_factory):
    """Depth -> (torchvision's network, the converted file, what the tool says), made on demand."""
    folder, made = tmp_path_factory.mktemp("resnets"), {}

    def get(depth):
        if depth not in made:
            network = random_resnet(depth)
            weights = network.state_dict()
            content = {18: weights, 34: {"state_dict": weights}, 50: {"model": weights}}[depth]
            torch.save(content, folder / f"theirs{depth}.pth")
            target = folder / f"ours{depth}.pth"
            text = convert_torchvision_checkpoint(folder / f"theirs{depth}.pth", target)
            made[depth] = network, target, text
        return made[depth]

    return get


@torch.no_grad()
def levels_of(resnet, image):
    x = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(image))))
    levels = {}
    for k in range(1, 5):
        x = levels[f"res{k + 1}"] = getattr(resnet, f"layer{k}")(x)
    return levels


@pytest.mark.parametrize(("depth", "config"), COMPARED)
def test_each_level_of_the_backbone_computes_the_same(resnets, depth, config):
    resnet, file, _ = resnets(depth)
    cfg = get_cfg()
    cfg.merge_from_file(str(CONFIG_FOLDER / "lesion" / f"{config}.yaml"))
    cfg.MODEL.DEVICE = "cpu"
    model = build_model(cfg).eval()
    report = load_weights(model, file, NEW_IN_LESION_MODEL)

    generator = torch.Generator().manual_seed(1)
    image = torch.randn(2, 3, 64, 96, generator=generator)
    with torch.no_grad():
        ours = model.backbone.bottom_up(image)
    assert list(ours) == list(cfg.MODEL.FPN.IN_FEATURES)
    theirs = levels_of(resnet, image)
    for level, features in ours.items():
        assert theirs[level].std() > 0.1
        torch.testing.assert_close(features, theirs[level], rtol=1e-4, atol=1e-4)

    own = {name for name in model.state_dict() if name.startswith(BACKBONE)}
    assert set(report.converted) == own and len(own) == TENSORS[depth][config]
    assert report.loaded == ()
    assert not any(name.startswith(BACKBONE) for name in report.missing)
    in_file = read_checkpoint(file).weights
    assert set(report.ignored) == set(in_file) - own
    assert set(report.ignored.values()) <= {"ignored: stages after the cut"}


@pytest.mark.parametrize("depth", TENSORS)
def test_the_table_tells_which_backbones_are_filled(resnets, depth):
    _, _, text = resnets(depth)
    whole = max(TENSORS[depth].values())
    assert f"ResNet-{depth}, {whole} tensors of convolutions and norms converted" in text
    assert "2 ignored (ImageNet's classifier)" in text
    rows = dict(re.findall(r"^(R\S+) +(\d+ of \d+)$", text, re.MULTILINE))
    assert rows == {config: f"{n} of {n}" for config, n in TENSORS[depth].items()}


def whole_resnet18():
    return torchvision.models.resnet18(weights=None).state_dict()


def test_files_from_before_batches_were_counted_fill_all_of_a_backbone(tmp_path):
    """PyTorch 0.4.1 brought the counters; files of torchvision's older than that lack them."""
    torch.manual_seed(0)
    old = {k: x for k, x in whole_resnet18().items() if not k.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "theirs.pth")
    text = convert_torchvision_checkpoint(tmp_path / "theirs.pth", tmp_path / "ours.pth")
    assert re.search(r"R18_T1 +90 of 90", text)
    counters = [
        x
        for k, x in read_checkpoint(tmp_path / "ours.pth").weights.items()
        if k.endswith("num_batches_tracked")
    ]
    assert len(counters) == 20 and all(x == 0 and x.dtype == torch.int64 for x in counters)


def without_one_tensor():
    return {k: x for k, x in whole_resnet18().items() if k != "layer2.0.conv1.weight"}


def without_layer4():
    return {k: x for k, x in names_of("resnet18").items() if not k.startswith("layer4.")}


def with_other_shapes():
    """ResNeXt-50 has ResNet-50's names."""
    with torch.device("meta"):
        weights = torchvision.models.resnext50_32x4d(weights=None).state_dict()
    return {name: torch.zeros(x.shape) for name, x in weights.items()}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda: names_of("resnet101"), "no ResNet-18, 34 or 50.* 3, 4, 23, 3 blocks"),
        (without_layer4, "ResNet-18 has layer1 to layer4, but layer4 is missing"),
        (
            without_one_tensor,
            "not a whole network: nothing for our backbone.bottom_up.res3.0.conv1.w",
        ),
        (
            with_other_shapes,
            r"res2.0.conv1.weight has the shape \(128, .* this network needs \(64, ",
        ),
        (lambda: names_of("resnet18") | {"neck.weight": torch.zeros(1)}, "neck.weight is no tens"),
        (lambda: [torch.zeros(1)], "holds no state dict"),
        (lambda: {"state_dict": {"conv1.weight": 3}}, "holds no state dict"),
        (lambda: {}, "no ResNet-18, 34 or 50"),
        (lambda: nn.Linear(1, 1), "not a checkpoint of tensors alone"),
    ],
    ids=[
        "R101",
        "no layer4",
        "incomplete",
        "ResNeXt",
        "unknown",
        "list",
        "no tensors",
        "empty",
        "module",
    ],
)
def test_refused_and_nothing_written(tmp_path, content, reason):
    source, target = tmp_path / "theirs.pth", tmp_path / "ours.pth"
    torch.save(content(), source)
    target.write_bytes(b"before")
    with pytest.raises(ValueError, match=f"theirs.pth: .*{reason}"):
        convert_torchvision_checkpoint(source, target)
    assert target.read_bytes() == b"before"
    assert sorted(tmp_path.iterdir()) == [target, source]


def test_files_that_are_not_there_or_cannot_be_written(tmp_path):
    torch.save({}, tmp_path / "theirs.pth")
    with pytest.raises(FileNotFoundError, match="none.pth: no such"):
        convert_torchvision_checkpoint(tmp_path / "none.pth", tmp_path / "ours.pth")
    with pytest.raises(FileNotFoundError, match="folder: no such folder"):
        convert_torchvision_checkpoint(tmp_path / "theirs.pth", tmp_path / "folder" / "ours.pth")
    with pytest.raises(ValueError, match="another file than the input"):
        convert_torchvision_checkpoint(tmp_path / "theirs.pth", tmp_path / "theirs.pth")
    with pytest.raises(ValueError, match="must end in .pth"):
        convert_torchvision_checkpoint(tmp_path / "theirs.pth", tmp_path / "ours.pt")
