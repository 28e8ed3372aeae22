"""Small networks for the tests: the shipped R18_T1 configs with little of everything."""

from pathlib import Path

import torch
from detectron2.modeling import build_model

from ctmasknet import get_cfg
from ctmasknet.fast import accelerate
from ctmasknet.modeling import RankedBoxes

CONFIG_FOLDER = Path(__file__).parents[1] / "configs"
CONFIGS = {"lesion": "lesion/R18_T1", "ctmasknet": "ctmasknet/R18_T1_heads_BN"}


def tiny_cfg(kind, *opts):
    """The R18_T1 config of a kind, small."""
    return small_cfg(CONFIGS[kind], *opts)


def small_cfg(name, *opts):
    """Any shipped config ("lesion/R50_both") with few proposals and a small image head."""
    cfg = get_cfg()
    cfg.merge_from_file(str(CONFIG_FOLDER / f"{name}.yaml"))
    cfg.MODEL.DEVICE, cfg.MODEL.PRECISION = "cpu", "float32"  # whatever the machine
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


def fast_model(kind, *opts, seed=0, only=None):
    """A tiny model, accelerated as Trainer and Predictor do it."""
    return accelerate(tiny_model(kind, *opts, seed=seed), only)


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


def boxes_of(rows, boxes=None, classes=None, size=(100, 200), **more):
    """One image's different boxes, best first, as a fill takes them."""
    count = len(rows)
    boxes = torch.zeros(count, 4) if boxes is None else boxes
    classes = torch.zeros(count, dtype=torch.int64) if classes is None else classes
    valid, sizes = torch.ones(count, dtype=torch.bool), torch.tensor(size, dtype=torch.float32)
    return RankedBoxes(rows, boxes, classes, valid, sizes, **more)


def meta_model(cfg):
    """A model of any size without memory or time: its tensors have shapes but no values."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        return build_model(cfg)
