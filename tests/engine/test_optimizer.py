from pathlib import Path

import pytest
import torch

from ctmasknet.engine import Trainer, load_config

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["ADAM", "ADAMW", "SGD"])
def test_optimiser_by_key(name):
    cfg = load_config(
        str(ROOT / "configs/lesion/R18_T1.yaml"),
        ["SOLVER.OPTIMIZER", name, "SOLVER.BASE_LR", "0.5", "SOLVER.WEIGHT_DECAY_NORM", "0.25"],
    )
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    model[0].bias.requires_grad_(False)
    optimizer = Trainer.build_optimizer(cfg, model)
    assert type(optimizer).__name__.upper() == name
    assert sum(len(g["params"]) for g in optimizer.param_groups) == 3
    decays = {g["weight_decay"] for g in optimizer.param_groups}
    assert decays == {cfg.SOLVER.WEIGHT_DECAY, 0.25}
    assert {g["lr"] for g in optimizer.param_groups} == {0.5}


@pytest.mark.parametrize("name", ["SGD", "ADAM", "ADAMW"])
def test_gradient_clipping_works_with_every_optimiser(name):
    clip = "SOLVER.CLIP_GRADIENTS."
    cfg = load_config(
        str(ROOT / "configs/lesion/R18_T1.yaml"),
        ["SOLVER.OPTIMIZER", name, f"{clip}ENABLED", "True", f"{clip}CLIP_TYPE", "norm"]
        + [f"{clip}CLIP_VALUE", "0.5", f"{clip}NORM_TYPE", "2.0"],
    )
    layer = torch.nn.Linear(3, 1, bias=False)
    optimizer = Trainer.build_optimizer(cfg, layer)
    layer.weight.grad = torch.tensor([[30.0, 0, 40]])
    optimizer.step()
    torch.testing.assert_close(layer.weight.grad, torch.tensor([[0.3, 0, 0.4]]))


def test_unknown_optimiser_names_the_valid_ones():
    cfg = load_config(str(ROOT / "configs/lesion/R18_T1.yaml"), ["SOLVER.OPTIMIZER", "LION"])
    with pytest.raises(ValueError, match="'LION'; valid are SGD, ADAM, ADAMW"):
        Trainer.build_optimizer(cfg, torch.nn.Linear(1, 1))
