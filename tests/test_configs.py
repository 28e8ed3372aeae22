from pathlib import Path

import pytest
from detectron2.config import get_cfg as get_detectron2_cfg
from tiny_models import meta_model

from ctmasknet import get_cfg
from ctmasknet.data.mask_rule import MaskRule
from ctmasknet.engine import load_config

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

FOLDER = Path(__file__).parents[1] / "configs"
CONFIGS = sorted(FOLDER.glob("*/*.yaml"))
LIGHT = [f"R{depth}{cut}" for depth in (18, 34) for cut in ("", "_T1", "_T2")]
HEAVY = ["R50_merge", "R50_both", "R50_ggo"]
PARTS = {"heads": "heads", "heads_BN": "heads+bn", "full": "full"}


def stems(folder):
    return {path.stem for path in CONFIGS if path.parent.name == folder}


def test_every_system_of_the_papers_has_its_config():
    assert stems("lesion") >= {*LIGHT, *HEAVY}
    assert stems("ctmasknet") >= {f"{name}_{part}" for name in LIGHT + HEAVY for part in PARTS}
    lesion = {f"{name}_reference" for name in LIGHT + HEAVY}
    image = {f"{name}_heads_BN_reference" for name in LIGHT + HEAVY}
    assert stems("reference") >= lesion | image


def test_a_stem_names_one_config():
    assert len({path.stem for path in CONFIGS}) == len(CONFIGS)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_config_builds(path):
    cfg = load_config(str(path))
    assert meta_model(cfg).training
    assert cfg.MODEL.NAME == path.stem and cfg.OUTPUT_DIR == f"output/{path.stem}"


@pytest.mark.parametrize("name", LIGHT + HEAVY)
def test_lesion_models_follow_the_papers(name):
    cfg = load_config(str(FOLDER / "lesion" / f"{name}.yaml"), datasets=False)
    mask_type = name.removeprefix("R50_") if name in HEAVY else "merge"
    assert cfg.INPUT.MASK_TYPE == mask_type
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == len(MaskRule.parse(mask_type).classes)
    depth, cut = int(name[1:3]), name[3:] if name in LIGHT else ""
    assert cfg.MODEL.RESNETS.DEPTH == depth
    stages = {"": "res5", "_T1": "res4", "_T2": "res3"}
    levels = ["res2", "res3", "res4", "res5"] if depth == 50 else [stages[cut]]
    assert cfg.MODEL.RESNETS.OUT_FEATURES == cfg.MODEL.FPN.IN_FEATURES == levels
    masks = cfg.MODEL.ROI_MASK_HEAD
    assert (masks.NUM_CONV, masks.CONV_DIM) == ((4, 256) if depth == 50 else (1, 128))
    assert (cfg.SOLVER.OPTIMIZER, cfg.SOLVER.BASE_LR) == ("ADAM", 1e-5)
    assert (cfg.SOLVER.WEIGHT_DECAY, cfg.SOLVER.WEIGHT_DECAY_NORM) == (1e-3, 1e-3)
    assert (cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.MAX_ITER) == (1, 100 * 650)


@pytest.mark.parametrize("name", LIGHT + HEAVY)
@pytest.mark.parametrize("part", PARTS)
def test_ct_mask_nets_are_their_lesion_model_and_the_papers_protocol(name, part):
    cfg = load_config(str(FOLDER / "ctmasknet" / f"{name}_{part}.yaml"), datasets=False)
    lesion = load_config(str(FOLDER / "lesion" / f"{name}.yaml"), datasets=False)
    assert cfg.MODEL.TRAINABLE == PARTS[part]
    assert cfg.MODEL.WEIGHTS == f"{lesion.OUTPUT_DIR}/model_best.pth"
    assert (cfg.MODEL.RANKED_BOXES.NUM, cfg.MODEL.IMAGE_HEAD.FC_DIM) == (
        (256, 1024) if name in HEAVY else (128, 512)
    )
    assert (cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.MAX_ITER) == (8, 50 * 3000 // 8)
    for key in ("BACKBONE", "RESNETS", "FPN", "RPN", "ANCHOR_GENERATOR", "ROI_HEADS"):
        assert cfg.MODEL[key] == lesion.MODEL[key]
    assert cfg.INPUT.MASK_TYPE == lesion.INPUT.MASK_TYPE


@pytest.mark.parametrize("name", LIGHT + HEAVY)
@pytest.mark.parametrize("kind", ["lesion/{}", "ctmasknet/{}_heads_BN"])
def test_reference_configs_differ_where_the_authors_code_does(name, kind):
    plain = FOLDER / f"{kind.format(name)}.yaml"
    reference = FOLDER / "reference" / f"{plain.stem}_reference.yaml"
    a, b = (_flat(load_config(str(path), datasets=False)) for path in (plain, reference))
    weights = {"MODEL.WEIGHTS"} if "ctmasknet" in kind else set()
    assert {key for key in a if a[key] != b[key]} == weights | {
        "INPUT.FLOAT_RESIZE",
        "MODEL.ANCHOR_GENERATOR.NAME",
        "MODEL.NAME",
        "MODEL.PRECISION",
        "MODEL.PROPOSAL_GENERATOR.MIN_SIZE",
        "MODEL.RANKED_BOXES.FILL",
        "MODEL.ROI_BOX_HEAD.POOLER_TYPE",
        "MODEL.ROI_HEADS.NMS_THRESH_TEST",
        "MODEL.ROI_MASK_HEAD.PASTE",
        "MODEL.ROI_MASK_HEAD.POOLER_TYPE",
        "MODEL.TRAIN_SHORTCUT_NORMS",
        "OUTPUT_DIR",
    }
    # Their RPNs have channels in another order: a plain lesion model would fit, and be wrong.
    assert b["MODEL.WEIGHTS"] == (f"output/{name}_reference/model_best.pth" if weights else "")


def _flat(cfg, prefix=""):
    flat = {}
    for key, value in cfg.items():
        if hasattr(value, "items"):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def test_detectron2_keys_keep_their_defaults():
    ours = _flat(get_cfg())
    stock = _flat(get_detectron2_cfg())
    assert {key: ours[key] for key in stock} == stock
