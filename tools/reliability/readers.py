"""The product's readers of files, each with the whole files that damaged ones are made from."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from detectron2.data import DatasetCatalog, MetadataCatalog

from ctmasknet.audit.records import splits_of_datasets
from ctmasknet.data.covidx import listed_sample, read_covidx_list
from ctmasknet.data.image_lists import find_classes, load_image_list
from ctmasknet.data.images import check_slice, read_mask, read_slice
from ctmasknet.data.mapper import SliceMapper
from ctmasknet.data.registration import read_dataset, register_lesion_dataset
from ctmasknet.errors import collecting
from ctmasknet.evaluation.lesion_files import read_lesions
from ctmasknet.evaluation.prediction_table import read_predictions
from ctmasknet.volumes import read_volume
from ctmasknet.volumes.label_maps import is_label_volume
from ctmasknet.volumes.volume_list import read_volume_list

from . import models, seeds
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
        mapper = SliceMapper(models.config_of("quick/lesion_R18_T1"), is_train=False)
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
    "checkpoint": Reader(models.checkpoints, models.checkpoint),
    "author's checkpoint": Reader(models.references, models.reference),
    "torchvision checkpoint": Reader(models.backbones, models.torchvision),
    "model file": Reader(models.model_files, models.model_file),
    "config": Reader(models.configs, models.config_file),
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
