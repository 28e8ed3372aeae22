from threading import get_ident

import pytest
import torch
from tiny_models import batch, fast_model

from ctmasknet.fast import microbatches as module
from ctmasknet.fast.microbatches import (
    STEM_VALUES,
    accumulated_losses,
    map_parts,
    split_batch,
)
from ctmasknet.modeling.finite import NotFiniteError, naming_images

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

CPU = torch.device("cpu")


def sizes(*pairs):
    return [{"image": torch.zeros(3, *pair, dtype=torch.uint8)} for pair in pairs]


def lengths(*args):
    return [len(group) for group in split_batch(*args)]


def test_microbatches_fit_the_memory_of_a_cpu():
    eight = sizes(*[(512, 512)] * 8)
    # 16 MiB: one float32 image in the stem, half of one later.
    assert lengths(eight, CPU, torch.float32, STEM_VALUES) == [1] * 8
    assert lengths(eight, CPU, torch.bfloat16, STEM_VALUES) == [2] * 4
    assert lengths(eight, CPU, torch.float32) == [2] * 4
    assert lengths(eight, CPU, torch.bfloat16) == [4] * 2
    assert lengths(sizes(*[(128, 128)] * 8), CPU, torch.float32) == [8]
    assert lengths(eight, torch.device("cuda"), torch.float32, STEM_VALUES) == [8]
    assert lengths(sizes((8192, 8192)), CPU, torch.float32) == [1]


def test_there_are_microbatches_for_all_threads():
    eight = sizes(*[(128, 128)] * 8)
    for threads, expected in ((2, [4, 4]), (3, [3, 3, 2]), (16, [1] * 8)):
        found = split_batch(eight, CPU, torch.float32, at_least=threads)
        assert [len(group) for group in found] == expected


@pytest.mark.parametrize("gradient", [True, False])
def test_microbatches_side_by_side_are_answered_in_order(two_threads, gradient):
    seen = []

    def answer(group):
        seen.append((torch.get_num_threads(), torch.is_grad_enabled(), get_ident()))
        return [2 * x for x in group]

    with torch.set_grad_enabled(gradient):
        assert list(map_parts(answer, [[1, 2], [3], [4]], 2)) == [[2, 4], [6], [8]]
    assert torch.get_num_threads() == 2
    assert {count for count, *_ in seen} == {1} and {grad for _, grad, _ in seen} == {gradient}
    assert get_ident() not in {own for *_, own in seen}


def fail(group):
    raise ValueError(f"this one: {group}")


def test_an_error_in_a_microbatch_is_raised(two_threads):
    with torch.no_grad(), pytest.raises(ValueError, match=r"this one: \[1\]"):
        list(map_parts(fail, [[1], [2]], 2))


def test_a_model_answers_the_same_on_one_thread_and_two(two_threads):
    model = fast_model("ctmasknet").eval()
    with torch.no_grad():
        answers = [model(batch(3))]
        model.concurrent = False
        answers.append(model(batch(3)))
    for one, two in zip(*answers, strict=True):
        torch.testing.assert_close(one["image_logits"], two["image_logits"])
        assert one["ranked_boxes"].classes.tolist() == two["ranked_boxes"].classes.tolist()


@pytest.mark.parametrize("kind", ["lesion", "ctmasknet"])
def test_an_image_that_gives_nan_is_named_whatever_its_microbatch(monkeypatch, kind):
    monkeypatch.setattr(module, "_MAX_BYTES", 1)
    images = batch(3)
    images[2]["image"][:] = torch.nan
    model = fast_model(kind).eval()
    expected = pytest.raises(NotFiniteError, match=r"^slice_2.png gives NaN")
    with torch.no_grad(), expected, naming_images(images):  # as who calls the network may
        model(images)


def test_grey_images_have_microbatches_of_their_own():
    mixed = sizes(*[(32, 32)] * 4)
    mixed[1]["image"][0] = 1
    assert lengths(mixed, CPU, torch.float32) == [1, 1, 2]
    assert lengths(mixed, torch.device("cuda"), torch.float32) == [4]


def test_microbatches_have_one_size_and_keep_the_order():
    mixed = sizes((64, 64), (64, 64), (32, 64), (64, 64))
    groups = list(split_batch(mixed, CPU, torch.float32))
    assert [x for group in groups for x in group] == mixed
    assert [len(group) for group in groups] == [2, 1, 1]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("part", ["heads", "heads+bn", "full"])
def test_accumulated_gradients_are_the_batchs(monkeypatch, two_threads, part, threads):
    results = []
    for most in (module._MAX_BYTES, 1):
        monkeypatch.setattr(module, "_MAX_BYTES", most)
        model = fast_model("ctmasknet", "MODEL.TRAINABLE", part).double()
        model.concurrent = threads == 2 and most == 1
        loss = model(batch(3))["loss_image"]
        (loss * 2).backward()
        results.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
        results[-1]["loss"] = loss.detach()
    assert len(results[0]) > 5 and all(x.abs().sum() > 0 for x in results[1].values())
    for name, gradient in results[0].items():
        torch.testing.assert_close(results[1][name], gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_side_by_side_gradients_are_the_same_every_time(monkeypatch, two_threads, precision):
    monkeypatch.setattr(module, "_MAX_BYTES", 1)  # five groups: sums that hang on their order
    opts = ("MODEL.TRAINABLE", "full", "MODEL.PRECISION", precision)
    model = fast_model("ctmasknet", *opts)
    results = []
    for _ in range(3):
        model.zero_grad()
        model(batch(5))["loss_image"].backward()
        results.append([p.grad for p in model.parameters() if p.requires_grad])
    for other in results[1:]:
        assert all(map(torch.equal, other, results[0]))
    assert all(own.abs().sum() > 0 for own in results[0])


@pytest.mark.parametrize("gradient", [True, False])
def test_an_image_that_gives_nan_in_training_is_named_whatever_its_thread(two_threads, gradient):
    images = batch(4)
    images[3]["image"][:] = torch.nan
    with torch.set_grad_enabled(gradient), pytest.raises(NotFiniteError, match=r"^slice_3.png"):
        fast_model("ctmasknet")(images)


def test_threads_compute_under_the_callers_autocast(two_threads):
    with torch.autocast("cpu", torch.bfloat16):
        found = map_parts(lambda group: (torch.ones(2, 2) @ torch.ones(2, 2)).dtype, [[1], [2]], 2)
        assert list(found) == [torch.bfloat16] * 2


def test_fewer_images_than_threads_share_all_threads(two_threads):
    model = fast_model("lesion").eval()
    assert (module._threads_for(model, 1), module._threads_for(model, 2)) == (1, 2)


def test_random_numbers_are_drawn_in_one_order(monkeypatch, two_threads):
    asked = []

    def accumulated(losses, parts, parameters, threads):
        asked.append(threads)
        return accumulated_losses(losses, parts, parameters, threads)

    monkeypatch.setattr(module, "accumulated_losses", accumulated)
    even = fast_model("ctmasknet")
    even(batch(2))
    even.image_head.add_module("drop", torch.nn.Dropout())
    even(batch(2))
    fast_model("ctmasknet", "MODEL.RANKED_BOXES.FILL", "random")(batch(2))
    assert asked == [2, 1, 1]


def test_a_microbatch_is_freed_before_the_next_begins():
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
        return {"loss": Watched.apply(weight * sum(group)).sum() / len(group)}

    total = accumulated_losses(loss, [[1.0, 3.0], [5.0]], [weight])["loss"]
    total.backward()
    assert total.item() == weight.grad.item() == 6  # the mean of 2, 6 and 10


def test_each_loss_has_its_own_gradient():
    """As the sum of a user's head: weighted losses, and one that is only logged."""
    weight = torch.tensor([1.0, 2.0], requires_grad=True)

    def losses(part):
        x = torch.tensor(part).mean()
        return {
            "loss_a": weight[0] * x,
            "loss_b": (weight * x).sum() ** 2,
            "logged": (weight.detach() * x).sum(),
        }

    gradients = []
    for found in (losses([1.0, 3.0, 5.0]), accumulated_losses(losses, [[1.0, 3.0, 5.0]], [weight])):
        assert list(found) == ["loss_a", "loss_b", "logged"]
        (3 * found["loss_a"] - found["loss_b"] + found["logged"]).backward()
        gradients.append((weight.grad.clone(), {k: v.item() for k, v in found.items()}))
        weight.grad = None
    assert torch.equal(gradients[0][0], gradients[1][0]) and gradients[0][1] == gradients[1][1]
    parts = accumulated_losses(losses, [[1.0, 3.0], [5.0]], [weight])
    (3 * parts["loss_a"] - parts["loss_b"]).backward()
    assert (parts["loss_a"].item(), parts["logged"].item()) == (3, 9)
    # Of loss_b: mean of (3 * 2)^2 twice and (3 * 5)^2, whose gradient is 2 * 3 * x^2 a weight.
    assert parts["loss_b"].item() == (2 * 36 + 225) / 3
    assert weight.grad.tolist() == [9 - (2 * 24 + 150) / 3, -(2 * 24 + 150) / 3]


@pytest.mark.parametrize("scale", [1.0, 2.0**16])
def test_small_float16_gradients_are_not_lost_before_the_loss_is_scaled(monkeypatch, scale):
    """Gradients of 1e-9 are 0 in float16 unless the loss is scaled before they are taken."""
    monkeypatch.setattr(module, "_MAX_BYTES", 1)
    gradients = {}
    for precision in ("float32", "float16"):
        model = fast_model("ctmasknet", "MODEL.TRAINABLE", "full", "MODEL.PRECISION", precision)
        for parameter in model.image_head.parameters():
            parameter.data *= 1e-2
        (model(batch(2))["loss_image"] * scale).backward()
        gradients[precision] = model.backbone.bottom_up.res4[0].conv1.weight.grad / scale
    exact, half = (gradients[x].abs() for x in ("float32", "float16"))
    kept = (half[exact > 0] > 0).float().mean()
    assert kept > 0.9 if scale > 1 else kept < 0.5
