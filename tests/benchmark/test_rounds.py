"""Turns, medians, and what a failure leaves behind."""

import math

import pytest
from benchmark.rounds import Measurement, measure
from benchmark.settings import Case, Contender
from benchmark.worker import PEAK, STAGES, STEP, ContenderError

CASE = Case("inference", "R18.yaml", batch=2)
ONE, TWO = Contender("ctmasknet"), Contender("torchvision")


class Scripted:
    """Answers like a worker, without a process."""

    log: list = []
    closed: list = []

    def __init__(self, case, contender):
        self.contender = contender
        self.steps = 0

    def ask(self, order):
        self.log.append((self.contender.name, order))
        if order == STEP:
            self.steps += 1
            return float(self.steps)
        return {PEAK: 7.0, STAGES: {"backbone": 0.5}}[order]

    def close(self):
        self.closed.append(self.contender.name)


class Failing(Scripted):
    """torchvision fails at its fourth step."""

    def ask(self, order):
        answer = super().ask(order)
        if self.contender == TWO and self.steps == 4:
            raise ContenderError("no memory left")
        return answer


@pytest.fixture(autouse=True)
def fresh():
    Scripted.log, Scripted.closed = [], []


def test_contenders_take_turns_and_two_rounds_warm_up():
    first, second = measure(CASE, [ONE, TWO], repeats=3, stages=True, start=Scripted)
    turn = [("ctmasknet", STEP), ("torchvision", STEP)]
    assert Scripted.log[:10] == turn * 5
    assert [order for _, order in Scripted.log[10:]] == [PEAK, PEAK, STAGES, STAGES]
    assert first.seconds == second.seconds == [3.0, 4.0, 5.0]
    assert (first.peak_memory_mb, first.stages) == (7.0, {"backbone": 0.5})
    assert Scripted.closed == ["ctmasknet", "torchvision"]


def test_a_failure_is_kept_and_the_others_go_on():
    first, second = measure(CASE, [ONE, TWO], repeats=4, start=Failing)
    assert len(first.seconds) == 4 and not first.error
    assert second.error == "no memory left" and second.seconds == [3.0]
    assert Scripted.log.count(("torchvision", STEP)) == 4
    assert ("torchvision", PEAK) not in Scripted.log
    assert Scripted.closed == ["ctmasknet", "torchvision"]


@pytest.mark.parametrize("budget, rounds", [(0.0, 3), (1e9, 15)])
def test_a_budget_gives_three_to_fifteen_rounds(budget, rounds):
    (found,) = measure(CASE, [ONE], budget=budget, start=Scripted)
    assert len(found.seconds) == rounds


def test_quartiles_are_per_image():
    found = Measurement(CASE, ONE, seconds=[0.4, 0.1, 0.2, 0.3, 0.5])  # two images a step
    assert found.quartiles() == pytest.approx((100, 150, 200))
    assert all(math.isnan(x) for x in Measurement(CASE, ONE).quartiles())


def test_ratio_is_of_the_same_round():
    """A round in which the machine was ten times slower changes nothing."""
    own = Measurement(CASE, ONE, seconds=[1.0, 10.0, 1.0])
    peer = Measurement(CASE, TWO, seconds=[3.0, 30.0, 4.0])
    assert own.times_faster(peer) == 3.0
    assert math.isnan(own.times_faster(Measurement(CASE, TWO)))
