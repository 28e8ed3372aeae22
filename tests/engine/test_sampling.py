"""Which slices are drawn."""

import itertools
import logging

import pytest
from detectron2.utils import comm

from ctmasknet.engine.sampling import AlternatingSampler, lesion_free_sampler


def records(lesions, free):
    return [{"annotations": [{"iscrowd": 0}]}] * lesions + [{"annotations": []}] * free


@pytest.mark.parametrize(("lesions", "free", "share"), [(8, 40, 0.25), (40, 4, 0.5), (10, 10, 0.1)])
def test_the_share_is_drawn_and_all_slices_come_up(lesions, free, share):
    sampler = lesion_free_sampler(records(lesions, free), share, seed=3)
    drawn = list(itertools.islice(iter(sampler), 20_000))
    assert sum(i >= lesions for i in drawn) / len(drawn) == pytest.approx(share, abs=0.01)
    counts = [drawn.count(i) for i in range(lesions + free)]
    assert max(counts[:lesions]) - min(counts[:lesions]) <= 2  # each once in a pass
    assert min(counts[lesions:]) > 0.7 * max(counts[lesions:])


def test_crowds_alone_are_no_lesions():
    made = [*records(2, 0), {"annotations": [{"iscrowd": 1}]}]
    drawn = list(itertools.islice(iter(lesion_free_sampler(made, 0.5, seed=0)), 4000))
    assert drawn.count(2) == pytest.approx(2000, abs=20)


@pytest.mark.parametrize(("lesions", "free"), [(3, 0), (0, 3)])
def test_slices_of_one_kind_are_drawn_as_they_come(lesions, free, caplog):
    with caplog.at_level(logging.WARNING):
        sampler = lesion_free_sampler(records(lesions, free), 0.25, seed=0)
    assert f"without effect: training has {lesions} slices with and {free} without" in caplog.text
    assert sorted(itertools.islice(iter(sampler), 3)) == [0, 1, 2]


def test_two_kinds_take_turns_and_all_slices_come_up():
    drawn = list(itertools.islice(AlternatingSampler(2, 6, seed=4), 24))
    assert all((i < 2) == (place % 2 == 0) for place, i in enumerate(drawn))
    assert sorted(drawn[1:13:2]) == [2, 3, 4, 5, 6, 7]  # a pass of the larger kind
    assert sorted(drawn[:24:2]) == [0] * 6 + [1] * 6
    assert drawn != list(itertools.islice(AlternatingSampler(2, 6, seed=5), 24))


def test_each_process_draws_both_kinds_and_no_slice_twice(monkeypatch):
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    drawn = []
    for rank in range(2):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        own = list(itertools.islice(AlternatingSampler(4, 8, seed=0), 8))
        assert all((i < 4) == (place % 2 == 0) for place, i in enumerate(own))
        drawn += own[1::2]
    assert sorted(drawn) == [4, 5, 6, 7, 8, 9, 10, 11]
