"""Find the config and the weights of a model by what a user calls it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from detectron2.config import CfgNode

from ..checkpoint import read_checkpoint
from ..checkpoint.settings import (
    CHANNELS,
    TRAINING_DATA,
    WINDOW,
    check_image_classes,
    check_lesion_classes,
    image_classes_in,
    lesion_classes_in,
)
from ..data.window import Window
from ..engine import load_config
from ..engine.checkpoints import BEST_WEIGHTS
from ..engine.lesion_classes import (
    RUN_CONFIG,
    check_lesion_keys,
    config_beside,
    told_lesion_classes,
)
from ..modeling import is_classifier, reads_boxes
from ..provenance import sha256_of
from ..shipped_configs import CHECKOUT, find_config
from ..shipped_models import (
    find_weights,
    is_model_file,
    model_names,
    names_in_words,
    shipped_file,
)

DEMO = "demo"
# What the demo trains, by the names of its quick configs.
DEMO_LESION, DEMO_CLASSIFIER = "lesion_R18_T1", "ctmasknet_R18_T1"
_RUN_WEIGHTS = (BEST_WEIGHTS, "model_final.pth")


@dataclass(frozen=True)
class ModelSpec:
    """A config with its weights; `config` is the file it was read from, "" if it was given as such.

    `trained_on` names data sets, as the checkpoint or the config.yaml beside it does; "" if
    neither. `lesion_classes` and `image_classes` are the names in the order of the model's
    indices; a lesion model has none of images. `window` is that of the slices it was trained on,
    "width,level" in HU; "" if the weights do not tell.
    """

    name: str
    cfg: CfgNode
    config: str
    weights: str
    trained_on: str
    lesion_classes: tuple[str, ...]
    image_classes: tuple[str, ...] = ()
    window: str = ""

    def describe(self) -> dict[str, str | bool]:
        """Return the model in plain types, for results and reports; hashes the weights."""
        cfg = self.cfg.clone()
        cfg.defrost()  # the hash is of what changes predictions: no paths, device, data sets, speed
        cfg.OUTPUT_DIR = cfg.MODEL.WEIGHTS = cfg.MODEL.DEVICE = ""
        cfg.DATASETS.TRAIN = cfg.DATASETS.VALIDATION = cfg.DATASETS.TEST = ()
        cfg.MODEL.pop("FAST")
        return {
            "name": self.name,
            "config": self.config,
            "weights": self.weights,
            "sha256": sha256_of(self.weights),
            "config_sha256": hashlib.sha256(cfg.dump().encode()).hexdigest(),
            "trained_on": self.trained_on or "not recorded",
            "phantom": "phantom" in self.trained_on.lower(),
        }


def find_model(
    config_or_name: CfgNode | str | Path,
    weights: str | Path | None = None,
    opts: Sequence[str] = (),
) -> ModelSpec:
    """Find a model.

    Args:
        config_or_name: a config; a YAML file; the name of a shipped config ("R18_T1_heads_BN");
            or, with weights of their own, the output folder of a training run, a model file
            (.safetensors) or the name of a model in the package. A path wins over a name.
        weights: a .pth checkpoint, a model file or the name of a model in the package; None for
            what has its own, of a training run the best ones, or the last.
        opts: config overrides, KEY VALUE pairs; not for a config that is given as such.

    Raises:
        FileNotFoundError: no such model or checkpoint; names the nearest one.
        ValueError: there are no weights, the config or the checkpoint cannot be read, or they
            name other classes.
    """
    if isinstance(config_or_name, CfgNode):
        cfg, config = config_or_name, ""
        check_lesion_keys(cfg)
    else:
        path = _config_file(config_or_name, alone=weights is None)
        if weights is None and path.name == RUN_CONFIG:
            weights = run_weights(path.parent)
        elif is_model_file(path):
            if weights is not None:
                raise ValueError(f"{path}: a whole model; it takes no other weights ({weights})")
            weights = path
        cfg, config = load_config(str(path), opts, datasets=False), str(path)
    if weights is None:
        raise ValueError(
            f"{config_or_name if config else 'the config given'}: no weights; name a checkpoint "
            "(--weights), or as a model the output folder of a training run, a model file "
            f"(.safetensors) or one in the package ({names_in_words()})"
        )
    weights = find_weights(weights)
    if config and is_model_file(weights) and Path(config) != weights:
        raise ValueError(f"{weights}: a whole model: name it as the model, without {config}")
    settings = read_checkpoint(weights).settings
    trained_on = settings.get(TRAINING_DATA) or _run_training_data(weights)
    if settings.get(CHANNELS, cfg.INPUT.CHANNELS) != cfg.INPUT.CHANNELS:
        raise ValueError(
            f"{weights}: trained with {CHANNELS} {settings[CHANNELS]}, the config says "
            f"{cfg.INPUT.CHANNELS}; use the config it was trained with"
        )
    stored = lesion_classes_in(settings)
    check_lesion_classes(weights, stored, cfg.DATASETS.LESION_CLASSES)
    name = cfg.MODEL.NAME or "model"
    lesions, images = stored or _lesion_classes(cfg), image_classes_in(settings)
    check_image_classes(weights, images, cfg.DATASETS.IMAGE_CLASSES)
    images = images or _image_classes(cfg)
    window = settings.get(WINDOW) or str(Window(*cfg.INPUT.WINDOW))
    return ModelSpec(name, cfg, config, str(weights), trained_on, lesions, images, window)


def run_weights(folder: Path) -> Path | None:
    """Return the checkpoint of a training run's folder, the best or the last; None without one."""
    return next((file for name in _RUN_WEIGHTS if (file := folder / name).is_file()), None)


def demo_folders() -> tuple[Path, Path]:
    """Return the folders of the CT-Mask-Net and the lesion model that `ctmasknet demo` has trained.

    Raises a FileNotFoundError unless it has run to its end, here or in the checkout.
    """
    places = [root / "output" / DEMO for root in (Path.cwd(), CHECKOUT) if root]
    for place in places:
        folders = [place / name for name in (DEMO_CLASSIFIER, DEMO_LESION)]
        if all((folder / _RUN_WEIGHTS[0]).is_file() for folder in folders):
            return folders[0], folders[1]
    raise FileNotFoundError(
        f"{' and '.join(map(str, dict.fromkeys(places)))}: the demo's models are not there; run "
        "`ctmasknet demo` first (minutes), or name another model"
    )


def _config_file(name: str | Path, alone: bool) -> Path:
    """Return the file with the config of a model, which may be `alone`, without other weights."""
    path = Path(name)
    if not path.is_dir():
        file = find_weights(name) if alone else path
        if file.suffix.lower() in (".pth", ".pt", ".pkl") and file.is_file():
            raise ValueError(
                f"{file}: weights without their config: name the config, or the training run's "
                "folder, as the model, and the file as --weights"
            )
        return file if is_model_file(file) else find_config(name)
    if not (path / RUN_CONFIG).is_file():
        runs = sorted(str(file.parent) for file in path.glob(f"*/{RUN_CONFIG}"))
        hint = f"; did you mean {' or '.join(runs)}?" if runs else "."
        if str(name) in model_names():
            hint = f"; the model of this name in the package is {shipped_file(str(name))}."
        raise FileNotFoundError(
            f"{path}: holds no {RUN_CONFIG}{hint} Expected the output folder of a training "
            "run, a model file (.safetensors), a config file, the name of a shipped config or of "
            f"a model in the package ({names_in_words()}), or {DEMO}"
        )
    return path / RUN_CONFIG


def _lesion_classes(cfg: CfgNode) -> tuple[str, ...]:
    """Return the names that a config tells, else numbered ones, as a guess could be wrong."""
    if is_classifier(cfg) and not reads_boxes(cfg):
        return ()  # a baseline finds none
    count = cfg.MODEL.ROI_HEADS.NUM_CLASSES
    numbered = ("lesion",) if count == 1 else tuple(f"class_{k}" for k in range(1, count + 1))
    return told_lesion_classes(cfg) or numbered


def _image_classes(cfg: CfgNode) -> tuple[str, ...]:
    if not is_classifier(cfg):
        return ()
    names, count = tuple(cfg.DATASETS.IMAGE_CLASSES), cfg.MODEL.IMAGE_HEAD.NUM_CLASSES
    return names if len(names) == count else tuple(f"class {k}" for k in range(count))


def _run_training_data(weights: str | Path) -> str:
    """Read a run's own config.yaml; a shipped config does not tell what weights have seen."""
    cfg = config_beside(weights)
    return ", ".join(cfg.DATASETS.TRAIN) if cfg else ""
