"""A contender in a process of its own, and the time of its stages."""

import pytest
import torch
from benchmark.profiling import time_stages
from benchmark.rounds import measure
from benchmark.settings import Case, Contender
from benchmark.steps import Step
from benchmark.worker import Worker
from tiny_models import CONFIG_FOLDER
from torch import nn
from torch.profiler import record_function


def start(case, contender):
    return Worker(case, contender, "spawn" if contender.name == "ctmasknet" else "forkserver")


@pytest.mark.slow  # two processes load the libraries
def test_one_fails_and_the_other_is_measured():
    """Stock Detectron2 has no classifier."""
    path = str(CONFIG_FOLDER / "ctmasknet" / "R18_T1_heads_BN.yaml")
    case = Case("inference", path, batch=1, side=64, threads=1)
    ours, stock = measure(case, [Contender("ctmasknet"), Contender("detectron2")], 2, start=start)
    assert len(ours.seconds) == 2 and not ours.error
    assert ours.peak_memory_mb is None or ours.peak_memory_mb > 10  # the weights alone are more
    assert not stock.seconds
    assert stock.error.startswith("ValueError: stock Detectron2 has no image head")


def test_stages_are_counted_once():
    x, in_turn, network = torch.rand(300, 300), [], nn.Module()
    network.concurrent = True

    def step():
        in_turn.append(not network.concurrent)  # the profiler sees this thread alone
        with record_function("ctmasknet/outer"), record_function("ctmasknet/inner"):
            x @ x
        with record_function("ctmasknet/late"):
            x @ x
        x @ x

    found = time_stages(Step(network, step), "cpu")
    assert list(found) == ["outer", "late", "other"]
    assert all(seconds > 0 for seconds in found.values())
    assert all(in_turn) and network.concurrent
