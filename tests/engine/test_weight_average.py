from types import SimpleNamespace

import pytest
from torch import nn

from ctmasknet.engine.weight_average import WeightAverage


def run(average, model, values, start=0, most=100):
    """Steps that set the weight to `values`; returns what is seen between hooks, and after."""
    trainer = SimpleNamespace(model=model, iter=start, max_iter=most)
    for hook in (average, average.release):
        hook.trainer = trainer
    average.before_train()
    seen, after = [], []
    for value in values:
        model.weight.data.fill_(value)
        average.after_step()
        seen.append(model.weight.item())
        average.release.after_step()
        after.append(model.weight.item())
        trainer.iter += 1
    return seen, after


def linear(value=0.0):
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(value)
    return model


def test_hooks_between_see_the_average_and_learning_goes_on_from_the_weights():
    seen, after = run(WeightAverage(0.5), linear(), [1.0, 3.0])
    first = 1 - 2 / 11  # the decay of the first steps is lower
    assert seen == pytest.approx([first, first * 3 / 12 + 3 * 9 / 12])
    assert after == [1.0, 3.0]


def test_the_last_step_leaves_the_average():
    seen, after = run(WeightAverage(0.5), linear(), [1.0, 3.0], most=2)
    assert after == [1.0, seen[1]]


def test_a_resumed_run_has_both():
    one, model = WeightAverage(0.5), linear()
    seen, _ = run(one, model, [1.0, 3.0])
    saved = {k: v.clone() for k, v in one.state_dict().items()}
    other, resumed = WeightAverage(0.5), linear(seen[1])  # a checkpoint's model is the average
    other.load_state_dict(saved)
    whole, _ = run(WeightAverage(0.5), linear(), [1.0, 3.0, 5.0])
    parts, _ = run(other, resumed, [5.0], start=2)
    assert parts[0] == pytest.approx(whole[2])


def test_running_statistics_are_averaged_and_counts_are_not():
    model = nn.BatchNorm1d(1)
    average = WeightAverage(0.9)
    average.trainer = SimpleNamespace(model=model, iter=0, max_iter=9)
    average.before_train()
    model.running_mean.fill_(11.0)
    model.num_batches_tracked.fill_(7)
    average.after_step()
    assert model.running_mean.item() == pytest.approx(11 * 9 / 11)
    assert model.num_batches_tracked.item() == 7


@pytest.mark.parametrize("decay", [1.0, -0.1])
def test_decay_out_of_range(decay):
    with pytest.raises(ValueError, match="AVERAGE_DECAY"):
        WeightAverage(decay)


def test_a_run_that_goes_on_at_its_end_has_the_average():
    one, model = WeightAverage(0.5), linear()
    seen, _ = run(one, model, [1.0, 3.0], most=2)
    other, resumed = WeightAverage(0.5), linear(seen[1])
    other.load_state_dict(one.state_dict())
    run(other, resumed, [], start=2, most=2)
    assert resumed.weight.item() == seen[1]
