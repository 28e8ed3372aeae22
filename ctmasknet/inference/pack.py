"""Put a model with its weights into one file."""

from dataclasses import dataclass
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.modeling import build_model

from ..checkpoint import load_weights
from ..checkpoint.model_file import to_float16, write_model_file
from ..checkpoint.settings import LESION_CLASSES, TRAINING_DATA, WINDOW, settings_of
from ..config import get_cfg
from ..data.window import Window
from ..errors import parts_named
from ..shipped_models import SUFFIX
from .model_spec import ModelSpec

# What a config says of the machine and the data of its run, which no other machine has.
_OF_THE_RUN = (
    *("OUTPUT_DIR", "MODEL.WEIGHTS", "MODEL.DEVICE", "DATALOADER.RANKED_BOXES_FOLDER"),
    *("DATASETS.TRAIN", "DATASETS.VALIDATION", "DATASETS.TEST", "DATASETS.DATA_ROOT"),
)


@dataclass(frozen=True)
class Rounding:
    """The largest change that float16 makes to a weight; `size` is its tensor's largest value."""

    tensor: str
    change: float
    size: float


def pack_model(
    spec: ModelSpec, path: Path, name: str, window: Window, license: str = "", terms: str = ""
) -> Rounding:
    """Write a model with its config, weights in float16, to one file (checkpoint/model_file.py).

    Args:
        spec: the model.
        path: the .safetensors to write; replaced if it is there.
        name: what the model is called in results.
        window: that slices had in training.
        license, terms: a line each; "" is not stated.

    Raises:
        FileNotFoundError, ValueError: as `load_weights`; or a path or name that cannot be used.
    """
    if path.suffix != SUFFIX:
        raise ValueError(f"{path}: the output must end in {SUFFIX}")
    if not name or Path(name).name != name:
        raise ValueError(f"name '{name}': expected a name without folders")
    cfg = spec.cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "cpu"
    with parts_named(spec.config or spec.name):
        model = build_model(cfg)
    load_weights(model, spec.weights)
    cfg.MODEL.NAME = name
    cfg.INPUT.WINDOW = (window.width, window.level)
    cfg.DATASETS.LESION_CLASSES = spec.lesion_classes
    cfg.DATASETS.IMAGE_CLASSES = spec.image_classes
    metadata = {
        LESION_CLASSES: "",  # of a baseline
        **settings_of(model, spec.lesion_classes, spec.image_classes),
        "name": name,
        "config": _without_run(cfg).dump(),
        WINDOW: str(window),
        "field_of_view": cfg.INPUT.FIELD_OF_VIEW,
        "license": license or "not stated",
        "terms": terms or "not stated",
        TRAINING_DATA: _names(spec.trained_on) or "not recorded",
    }
    weights = model.state_dict()
    write_model_file(path, weights, metadata)
    changes = (
        Rounding(key, (x - to_float16(x).float()).abs().max().item(), x.abs().max().item())
        for key, x in weights.items()
        if x.is_floating_point() and x.numel()
    )
    return max(changes, key=lambda rounding: rounding.change)


def _without_run(cfg: CfgNode) -> CfgNode:
    default = get_cfg()
    pairs = ((key, _value(default, key)) for key in _OF_THE_RUN)
    cfg.merge_from_list([x for pair in pairs for x in pair])
    return cfg


def _value(cfg: CfgNode, key: str) -> object:
    for part in key.split("."):
        cfg = cfg[part]
    return cfg


def _names(data: str) -> str:
    """Return the names of data sets without folders; that they are phantoms stays told."""
    found = []
    for source in data.split(", "):
        name = Path(source).name
        drawn = "phantom" in source.lower() and "phantom" not in name.lower()
        found.append(f"phantom {name}" if drawn else name)
    return ", ".join(found)
