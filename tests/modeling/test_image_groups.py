import pytest
import torch
from tiny_models import batch, tiny_model

from ctmasknet.modeling import image_groups as module
from ctmasknet.modeling.image_groups import STEM_VALUES, image_groups, mean_loss

CPU = torch.device("cpu")


def sizes(*pairs):
    return [{"image": torch.zeros(3, *pair, dtype=torch.uint8)} for pair in pairs]


def lengths(*args):
    return [len(group) for group in image_groups(*args)]


def test_groups_fit_the_memory_of_a_cpu():
    eight = sizes(*[(512, 512)] * 8)
    # 16 MiB each in the stem, half of it later.
    assert lengths(eight, CPU, torch.float32, STEM_VALUES) == [1] * 8
    assert lengths(eight, CPU, torch.bfloat16, STEM_VALUES) == [2, 2, 2, 2]
    assert lengths(eight, CPU, torch.float32) == [2] * 4
    assert lengths(eight, CPU, torch.bfloat16) == [4, 4]
    assert lengths(eight, torch.device("cuda"), torch.float32, STEM_VALUES) == [8]
    assert lengths(sizes((8192, 8192)), CPU, torch.float32) == [1]


def test_groups_have_one_size_and_keep_the_order():
    mixed = sizes((64, 64), (64, 64), (32, 64), (64, 64))
    groups = list(image_groups(mixed, CPU, torch.float32))
    assert [x for group in groups for x in group] == mixed
    assert [len(group) for group in groups] == [2, 1, 1]


@pytest.mark.parametrize("part", ["heads", "heads+bn", "full"])
def test_group_by_group_the_gradients_are_the_batchs(monkeypatch, part):
    results = []
    for most in (module._MAX_BYTES, 1):
        monkeypatch.setattr(module, "_MAX_BYTES", most)
        model = tiny_model("ctmasknet", "MODEL.TRAINABLE", part).double()
        loss = model(batch(3))["loss_image"]
        (loss * 2).backward()
        results.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
        results[-1]["loss"] = loss.detach()
    assert len(results[0]) > 5 and all(x.abs().sum() > 0 for x in results[1].values())
    for name, gradient in results[0].items():
        torch.testing.assert_close(results[1][name], gradient, rtol=1e-9, atol=1e-12)


def test_a_group_is_freed_before_the_next_begins():
    weight = torch.ones(1, requires_grad=True)
    alive = []

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            alive.append(1)
            return x * 2

        @staticmethod
        def backward(ctx, gradient):
            alive.pop()
            return gradient * 2

    def loss(group):
        assert not alive
        return Watched.apply(weight * sum(group)).sum() / len(group)

    total = mean_loss(loss, [[1.0, 3.0], [5.0]], [weight])
    total.backward()
    assert total.item() == weight.grad.item() == 6  # the mean of 2, 6 and 10


def test_without_gradient_it_is_the_mean():
    with torch.no_grad():
        assert mean_loss(lambda group: torch.tensor(sum(group) / 2), [[1, 3], [5, 1]], []) == 2.5
