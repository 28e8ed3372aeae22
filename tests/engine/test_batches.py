"""The order of training images and their random numbers."""

import itertools
import random

import numpy as np
import pytest
import torch
from detectron2.data.samplers import RepeatFactorTrainingSampler, TrainingSampler

from ctmasknet.engine.batches import TrainingBatches, seed_generators


def drawn(batches, count):
    return list(itertools.islice(iter(batches), count))


def order(seed=3, size=5):
    return TrainingBatches(TrainingSampler(size, seed=seed), 2, lambda index: index % 2)


@pytest.mark.parametrize("start", [1, 4, 7])
def test_an_order_goes_on_at_any_batch_as_if_it_had_not_stopped(start):
    whole, later = order(), order()
    later.start = start
    assert drawn(later, 6) == drawn(whole, start + 6)[start:]


def test_images_of_a_batch_are_of_one_group_and_none_is_lost():
    found = drawn(order(), 20)
    assert all(index % 2 == batch[0][0] % 2 for batch in found for index, _ in batch)
    places = sorted(place[2] for batch in found for _, place in batch)
    assert len(places) == len(set(places)) == 40
    assert places[:38] == list(range(38))  # but for one of each group that may still wait


def test_what_was_drawn_for_an_order_makes_another_one_the_same():
    one, other = order(seed=3), order(seed=4)
    assert drawn(one, 9) != drawn(other, 9)
    other.load_state_dict(one.state_dict())
    assert drawn(one, 9) == drawn(other, 9)
    factors = torch.tensor([0.5, 1.5, 1.0])
    seeds = [
        TrainingBatches(RepeatFactorTrainingSampler(factors, seed=x), 1, bool).state_dict()
        for x in (5, 6)
    ]
    assert seeds == [{"_seed": 5}, {"_seed": 6}]


def test_all_generators_follow_from_the_parts():
    def numbers(*parts):
        seed_generators(*parts)
        return random.random(), np.random.random(), torch.rand(1).item()

    assert numbers(1, 0, 7) == numbers(1, 0, 7)
    others = [numbers(1, 0, 7), numbers(1, 0, 8), numbers(1, 1, 7), numbers(11, 0, 7)]
    for column in zip(*others, strict=True):
        assert len(set(column)) == len(others)
