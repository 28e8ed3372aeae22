"""A Predictor in processes that are forked and spawned: an error or a result, never a hang."""

import multiprocessing
import os

import numpy as np
import pytest
import torch

from ctmasknet.inference import Predictor, forked_process

pytestmark = pytest.mark.slow  # whole networks, commands or data sets
SLICE = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)


def predict(answers, predictor, threads):
    torch.set_num_threads(threads)
    try:
        found = predictor.predict(SLICE)
        answers.put(len(found.instances))
    except RuntimeError as error:
        answers.put(str(error))


def in_child(predictor, threads):
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=predict, args=(answers, predictor, threads))
    child.start()
    try:
        return answers.get(timeout=60)
    finally:
        child.kill()
        child.join()


@pytest.fixture
def predictor(runs, two_threads, monkeypatch):
    monkeypatch.setattr(forked_process, "_owner", None)
    found = Predictor(runs.lesion, device="cpu")
    found.predict(SLICE)
    return found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_is_told_to_be_spawned_instead_of_waiting_for_ever(predictor):
    answer = in_child(predictor, threads=2)
    assert f"was forked from {os.getpid()}, which has made a model" in answer
    assert 'by spawn (multiprocessing.get_context("spawn"))' in answer
    assert in_child(predictor, threads=1) == len(predictor.predict(SLICE).instances)
