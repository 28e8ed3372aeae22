"""The product's readers of files, each with the whole files that damaged ones are made from."""

import io
import json
import math
import sys
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest import mock

import torch
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model

from ctmasknet.audit.records import splits_of_datasets
from ctmasknet.checkpoint import load_weights
from ctmasknet.checkpoint.convert import (
    convert_reference_checkpoint,
    convert_torchvision_checkpoint,
)
from ctmasknet.checkpoint.model_file import write_model_file
from ctmasknet.data.covidx import listed_sample, read_covidx_list
from ctmasknet.data.image_lists import find_classes, load_image_list
from ctmasknet.data.images import check_slice, read_mask, read_slice
from ctmasknet.data.mapper import SliceMapper
from ctmasknet.data.registration import read_dataset, register_lesion_dataset
from ctmasknet.engine import load_config
from ctmasknet.errors import collecting
from ctmasknet.evaluation.lesion_files import read_lesions
from ctmasknet.evaluation.prediction_table import read_predictions
from ctmasknet.inference.model_spec import find_model
from ctmasknet.volumes import read_volume
from ctmasknet.volumes.label_maps import is_label_volume
from ctmasknet.volumes.volume_slices import read_volume_list

from . import seeds
from .seeds import Seed, dump_json


class Reader(NamedTuple):
    """Whole files, and what reads one: it returns what was in it, the same each time."""

    seeds: Callable[[], list[Seed]]
    read: Callable[[Path], Any]


def _volume(path: Path) -> Any:
    try:
        volume = read_volume(path)
    except ValueError as error:
        if path.name not in str(error):
            raise
        volume = read_volume(path, errors=collecting())  # --skip-bad
    label = not path.name.endswith((".dcm", ".zip")) and is_label_volume(path)
    places = [volume.spacing, volume.origin, volume.direction.tolist(), label]
    return volume.hu.tobytes(), repr(places)


def _image(path: Path) -> Any:
    size, pixels = check_slice(path), read_slice(path)
    if size != pixels.shape[:2]:
        raise AssertionError(f"{path}: its header's size {size} is not that of its pixels")
    try:
        return pixels.tobytes(), read_mask(path).tobytes()
    except ValueError as error:
        if path.name not in str(error):
            raise
        return pixels.tobytes()


@cache
def _model(config: str) -> Any:
    """A model without values, which take no memory."""
    with torch.device("meta"):
        return build_model(_config(config))


@cache
def _config(name: str) -> Any:
    return load_config(name, ["MODEL.DEVICE", "meta"], datasets=False)


_WEIGHTS = {
    "proposal_generator.rpn_head.objectness_logits.bias": torch.zeros(30),
    "roi_heads.box_predictor.cls_score.bias": torch.zeros(2),
    "image_head.fc1.weight": torch.zeros(8, 320),
    "image_head.classifier.bias": torch.zeros(3),
    "backbone.bottom_up.stem.conv1.weight": torch.randn(2, 3, 2, 2).half(),
}


@cache
def _tensors() -> tuple[torch.Tensor, ...]:
    """Tensors that trouble readers; all are of few bytes."""
    return (
        *(torch.zeros(()), torch.zeros(0), torch.zeros(2**20, 0), torch.zeros(2**31, 0)),
        *(
            torch.zeros(1).expand(2**34),
            torch.zeros(3, dtype=torch.complex64),
            torch.tensor(math.nan),
        ),
        *(
            torch.zeros(2, dtype=torch.bool),
            torch.eye(2).to_sparse(),
            torch.zeros(1, 1, 1, 1, 1, 1),
        ),
        *(
            torch.quantize_per_tensor(torch.zeros(2), 1, 0, torch.qint8),
            torch.zeros(2, device="meta"),
        ),
        *(torch.nn.Parameter(torch.zeros(2)), torch.zeros(4)[::2], torch.zeros(2, 2).t()),
    )


def _saved(content: Any, legacy: bool = False) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


def _checkpoints() -> list[Seed]:
    whole = {
        "model": _WEIGHTS,
        "settings": {"MODEL.RANKED_BOXES.ENCODING": "delta", "DATASETS.LESION_CLASSES": "GGO,C"}
        | {"DATASETS.IMAGE_CLASSES": json.dumps(["a", "b", "c"])},
        "converted": [*_WEIGHTS],
        "iteration": 3,
    }
    contents = (whole, {f"module.{k}": v for k, v in _WEIGHTS.items()})
    return [
        Seed("a.pth", content, partial(_saved, legacy=legacy), values=_tensors())
        for content in contents
        for legacy in (False, True)
    ]


def _checkpoint(path: Path) -> Any:
    for config in ("quick/lesion_R18_T1", "quick/ctmasknet_R18_T1"):
        try:
            load_weights(_model(config), path, new=("image_head", "roi_heads"))
        except ValueError as error:
            if "another architecture" not in str(error) or path.name not in str(error):
                raise
    return "of another architecture"


class AnchorGenerator:
    """Written in place of the author's, as if it were in his module."""

    __module__ = "models.mask_net.rpn"

    def __init__(self, attributes: dict):
        vars(self).update({str(key): value for key, value in attributes.items()})


def _saved_reference(content: dict, legacy: bool) -> bytes:
    """Save in the author's way; in the content the anchor generator is a dict."""
    module = ModuleType(AnchorGenerator.__module__)
    module.AnchorGenerator = AnchorGenerator  # type: ignore[attr-defined]
    packages = {name: ModuleType(name) for name in ("models", "models.mask_net")}
    with mock.patch.dict(sys.modules, {**packages, module.__name__: module}):
        made = {
            key: AnchorGenerator(value) if isinstance(value, dict) and "sizes" in value else value
            for key, value in content.items()
        }
        return _saved(made, legacy)


_REFERENCE = (
    *(f"backbone.body.{x}.weight" for x in ("conv1", "bn1", "layer1.0.conv1", "layer1.1.conv1")),
    *(f"backbone.body.layer{x}.weight" for x in ("2.0.conv1", "2.1.bn2", "3.0.conv1", "3.1.bn2")),
    *("backbone.body.bn1.num_batches_tracked", "backbone.fpn.inner_blocks.0.weight"),
    *("backbone.fpn.layer_blocks.0.weight", "roi_heads.mask_head.mask_fcn1.weight"),
    *(f"rpn.head.{x}.weight" for x in ("conv", "cls_logits", "bbox_pred")),
    *(f"roi_heads.box_{x}.weight" for x in ("head.fc6", "predictor.cls_score")),
)


def _references() -> list[Seed]:
    """Files in the author's layout, of tensors with few values."""
    weights = {name: torch.zeros(2, 3) for name in _REFERENCE}
    module_s = {f"s2new.fc_scores{x}.weight": torch.zeros(3, 80) for x in ("", "_2", "_img")}
    generator = {"sizes": [[2.0]], "aspect_ratios": [[0.5, 1.0]], "training": True}
    return [
        Seed(
            "a.pth",
            {"epoch": "3", "model_weights": {**weights, **more}, "anchor_generator": generator},
            partial(_saved_reference, legacy=legacy),
            values=_tensors(),
        )
        for more in ({}, module_s)
        for legacy in (False, True)
    ]


def _reference(path: Path) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        convert_reference_checkpoint(path, Path(folder, "out.pth"))
    return "whole"


def _backbones() -> list[Seed]:
    names = [f"layer{k}.{n}.conv1.weight" for k in (1, 2, 3, 4) for n in (0, 1)]
    weights = {name: torch.zeros(2, 3) for name in ("conv1.weight", "fc.bias", *names)}
    return [
        Seed("a.pth", {"state_dict": weights}, partial(_saved, legacy=legacy), values=_tensors())
        for legacy in (False, True)
    ]


def _torchvision(path: Path) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return convert_torchvision_checkpoint(path, Path(folder, "out.pth"))


def _model_files() -> list[Seed]:
    """Whole models in a file; what is changed in them is told by their hashes."""
    metadata = {
        **{"name": "tiny", "window": "1500,-600", "field_of_view": "image", "license": "none"},
        **{"terms": "none", "DATASETS.LESION_CLASSES": "GGO,C", "DATASETS.IMAGE_CLASSES": "[]"},
        "config": yaml.safe_dump({k: v for k, v in _CONFIG.items() if k != "_BASE_"}),
    }

    def dump(content: dict) -> bytes:
        weights, about = (x if isinstance(x, dict) else {} for x in map(content.get, ("w", "a")))
        tensors = {str(k): x for k, x in weights.items() if isinstance(x, torch.Tensor)}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "a.safetensors")
            write_model_file(path, tensors, {str(k): str(x) for k, x in about.items()})
            return path.read_bytes()

    return [Seed("a.safetensors", {"w": _WEIGHTS, "a": metadata}, dump, values=_tensors()[:4])]


def _model_file(path: Path) -> Any:
    spec = find_model(path)
    return spec.cfg.dump(), spec.window, spec.lesion_classes, spec.image_classes


_CONFIG = {
    "_BASE_": "base.yaml",
    "MODEL": {"META_ARCHITECTURE": "LesionRCNN", "ROI_HEADS": {"NUM_CLASSES": 2}, "NAME": "x"},
    "SOLVER": {"BASE_LR": 0.01, "STEPS": [10, 20], "MAX_ITER": 30},
    "DATASETS": {"LESION_CLASSES": ["GGO", "C"], "TRAIN": ["a.json"]},
    "INPUT": {"MASK_TYPE": "both", "WINDOW": [1500, -600], "MIN_SIZE_TRAIN": [64]},
    "VERSION": 2,
}


def _configs() -> list[Seed]:
    def dump(content: Any) -> bytes:
        return yaml.safe_dump(content).encode()

    base = {"base.yaml": b"SEED: 3\n"}
    return [Seed(name, _CONFIG, dump, base) for name in ("a.yaml", "config.yaml")]


def _config_file(path: Path) -> Any:
    return load_config(str(path), datasets=False).dump()


def _coco() -> list[Seed]:
    """Truth, and detections beside a truth that is not changed."""
    whole = seeds.coco()
    found = [
        {key: x[key] for key in ("image_id", "category_id", "bbox", "segmentation")}
        | {"score": 0.5}
        for x in whole["annotations"][1:3]
    ]
    truth = {"truth.json": dump_json(whole)}
    return [
        Seed("truth.json", whole, dump_json),
        Seed("found.json", found, dump_json, truth),
        Seed("found.json", {**whole, "annotations": found}, dump_json, truth),
    ]


def _lesions(path: Path) -> Any:
    detections = [path] if path.name == "found.json" else []
    found = read_lesions(path.with_name("truth.json"), detections)
    return found.fingerprint(), repr(found.detections)


def _training_coco() -> list[Seed]:
    pictures = {name: seeds.png() for name in ("a.png", "b.png")}
    return [Seed("a.json", seeds.coco(), dump_json, pictures)]


def _training_lesions(path: Path) -> Any:
    """Register, read as training does, and audit."""
    catalogs = [mock.patch.dict(x.data) for x in (DatasetCatalog, MetadataCatalog)]
    with catalogs[0], catalogs[1]:  # names are forgotten
        register_lesion_dataset("fuzzed", path)
        records = read_dataset("fuzzed")
        mapper = SliceMapper(_config("quick/lesion_R18_T1"), is_train=False)
        mapped = [mapper(record)["image"].shape for record in records]
        sizes = [len(split.slices) for split in splits_of_datasets([str(path)])]
        return repr((mapped, sizes))


_LISTS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "list.txt": ("NCP_96_1328_0032.png 2 9 9 99 99\nCP_9_1_3.png 1 0 0 5 5\n", read_covidx_list),
    "metadata.csv": (
        'patient id,source,country\n96,CNCB,x\nNCP_96,y,"a\nb"\n',
        lambda path: read_covidx_list(path.with_name("good.txt"), None, path),
    ),
    "names.txt": (
        "2_96_1328_0032.png\n",
        lambda path: listed_sample(read_covidx_list(path.with_name("good.txt")), path),
    ),
    "images.csv": (
        "file,label,patient,scan\na.png,0,p1,s1\nb.png,2,p2,s2\n./c.png,1,p3,s3\n",
        lambda path: load_image_list(path, find_classes([path])),
    ),
    "volumes.csv": ("file,label,patient,scan\na.nii,0,p1,s1\nb,2,p2,s2\n", read_volume_list),
    "predictions.csv": (
        "file_name,patient,scan,label,logit_0,logit_1,logit_2\na.png,p,s,0,1.5,-2,3\n"
        "b.png,p,s,1,0.5,1e3,3\n",
        read_predictions,
    ),
}


def _lists() -> list[Seed]:
    beside = {name: seeds.png() for name in ("a.png", "b.png", "c.png")}
    beside["good.txt"] = _LISTS["list.txt"][0].encode()
    return [Seed(name, text.encode(), beside=beside) for name, (text, _) in _LISTS.items()]


def _list(path: Path) -> Any:
    return repr(_LISTS[path.name][1](path))


READERS: dict[str, Reader] = {
    "checkpoint": Reader(_checkpoints, _checkpoint),
    "author's checkpoint": Reader(_references, _reference),
    "torchvision checkpoint": Reader(_backbones, _torchvision),
    "model file": Reader(_model_files, _model_file),
    "config": Reader(_configs, _config_file),
    "COCO, evaluation": Reader(_coco, _lesions),
    "COCO, training and audit": Reader(_training_coco, _training_lesions),
    "lists": Reader(_lists, _list),
    "image": Reader(seeds.images, _image),
    "DICOM": Reader(seeds.dicom, _volume),
    "zip": Reader(seeds.zips, _volume),
    "NIfTI": Reader(partial(seeds.volumes, ".nii", ".nii.gz"), _volume),
    "MetaImage, .mha": Reader(partial(seeds.volumes, ".mha"), _volume),
    "MetaImage, .mhd": Reader(partial(seeds.volumes, ".mhd"), _volume),
    "NRRD": Reader(partial(seeds.volumes, ".nrrd", ".nhdr"), _volume),
}
