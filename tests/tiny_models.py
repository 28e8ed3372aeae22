"""Small networks for the tests: the shipped R18_T1 configs with little of everything."""

from pathlib import Path

import torch
from detectron2.modeling import build_model

from ctmasknet import get_cfg

CONFIG_FOLDER = Path(__file__).parents[1] / "configs"
CONFIGS = {"lesion": "lesion/R18_T1.yaml", "ctmasknet": "ctmasknet/R18_T1_heads_BN.yaml"}


def tiny_cfg(kind, *opts):
    cfg = get_cfg()
    cfg.merge_from_file(str(CONFIG_FOLDER / CONFIGS[kind]))
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.RPN.PRE_NMS_TOPK_TEST = 100
    cfg.MODEL.RPN.POST_NMS_TOPK_TEST = 50
    cfg.MODEL.RPN.PRE_NMS_TOPK_TRAIN = 100
    cfg.MODEL.RPN.POST_NMS_TOPK_TRAIN = 50
    cfg.MODEL.RANKED_BOXES.NUM = 16
    cfg.MODEL.IMAGE_HEAD.FC_DIM = 8
    cfg.merge_from_list(list(opts))
    return cfg


def tiny_model(kind, *opts, seed=0):
    torch.manual_seed(seed)
    return build_model(tiny_cfg(kind, *opts))


def batch(num=2, size=(64, 64), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "image": torch.randint(0, 256, (3, *size), generator=generator).float(),
            "height": size[0],
            "width": size[1],
            "label": i % 3,
            "file_name": f"slice_{i}.png",
        }
        for i in range(num)
    ]
