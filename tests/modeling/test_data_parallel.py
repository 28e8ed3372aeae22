"""DistributedDataParallel refuses parameters that want a gradient and get none."""

import pytest
import torch
import torch.distributed as dist
from tiny_models import batch, fast_model, tiny_model
from torch.nn.parallel import DistributedDataParallel

pytestmark = pytest.mark.slow  # whole networks, commands or data sets


@pytest.fixture
def process_group(tmp_path):
    """One process is enough: the check is the same as with many."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("side_by_side", [False, True])
@pytest.mark.parametrize("part", ["heads", "heads+bn", "full"])
def test_every_trainable_part_trains_data_parallel(process_group, two_threads, part, side_by_side):
    net = fast_model("ctmasknet", "MODEL.TRAINABLE", part)
    net.concurrent = side_by_side
    model = DistributedDataParallel(net)
    for _ in range(2):  # the second step raises when the first left a gradient out
        model(batch())["loss_image"].backward()


@pytest.mark.parametrize("part", ["heads+bn", "full"])
def test_a_batch_without_any_row_trains_data_parallel(process_group, part):
    net = tiny_model("ctmasknet", "MODEL.TRAINABLE", part)
    net.roi_heads.box_predictor.bbox_pred.bias.data[0] = 1e6  # all boxes lie outside the image
    model = DistributedDataParallel(net)
    for _ in range(2):
        model(batch())["loss_image"].backward()
    assert net.backbone.bottom_up.stem.conv1.norm.weight.grad.abs().sum() == 0


def test_its_gradients_are_those_of_the_model_alone(process_group, two_threads):
    gradients = []
    for wrap in (DistributedDataParallel, lambda model: model):
        net = fast_model("ctmasknet", "MODEL.TRAINABLE", "heads+bn")
        wrap(net)(batch())["loss_image"].backward()
        gradients.append({name: p.grad for name, p in net.named_parameters() if p.requires_grad})
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name


def test_a_parameter_without_gradient_is_noticed(process_group):
    net = tiny_model("ctmasknet", "MODEL.TRAINABLE", "heads")
    net.proposal_generator.requires_grad_(True)
    model = DistributedDataParallel(net)
    with pytest.raises(RuntimeError, match="did not receive grad|not used in producing loss"):
        for _ in range(2):
            model(batch())["loss_image"].backward()
