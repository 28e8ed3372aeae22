"""The data sets that are known by name: where their files are expected and what makes them.

All lie under $DETECTRON2_DATASETS (default: datasets); see datasets/README.md.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .classes import MASK_PRESETS, SPLITS, MaskValues
from .covidx import VERSIONS
from .registration import register_covidx_dataset, register_image_dataset, register_lesion_dataset

BY_RANK = "lesion_by_rank"  # read as the author's code reads masks: see `values_by_rank`
PHANTOM_LESION_TYPES = ("merge", "both")
AUTHOR_SAMPLE = "author_classification_train.txt"


@dataclass(frozen=True)
class LesionTree:
    """A lesion data set as it is downloaded.

    Attributes:
        folder: its name under $DETECTRON2_DATASETS.
        images, masks: names of the folders in it.
        values: what the masks' values mean.
        layout: the files in it, for people.
    """

    folder: str
    images: str
    masks: str
    values: MaskValues
    layout: str


LESION_TREES = {
    "cncb": LesionTree(
        "cncb_lesion",
        "image",
        "mask",
        MASK_PRESETS["cncb"],
        "image/{patient}/{slice}.jpg and mask/{patient}/{slice}.png, or flat as "
        "{patient}_{slice}.jpg and .png",
    ),
    "medseg": LesionTree(
        "medseg_lesion",
        "images",
        "masks",
        MASK_PRESETS["medseg"],
        "images/{slice}.png and masks/{slice}.png",
    ),
}


def datasets_root() -> Path:
    """$DETECTRON2_DATASETS, or "datasets" when it is not set."""
    return Path(os.environ.get("DETECTRON2_DATASETS") or "datasets")


def register_builtin() -> None:
    """Register the names below, with the root as it is at the time of the call.

    phantom_{split} and phantom_lesion_{merge,both}_{split}; cncb_lesion_{split},
    cncb_lesion_by_rank_{split} and medseg_lesion_{split}; covidx_ct_{v1,v2a,v2b,v3a,v3b}_{split}
    and covidx_ct_v1_author_train. Nothing is read before a data set is used.
    """
    root = datasets_root()
    _register_phantoms(root / "phantom")
    for name, tree in LESION_TREES.items():
        _register_lesions(root / tree.folder, name, tree, "lesion")
    _register_lesions(root / LESION_TREES["cncb"].folder, "cncb", LESION_TREES["cncb"], BY_RANK)
    for version, suffix in VERSIONS.items():
        _register_covidx(root / "covidx_ct", version, suffix)


def _register_lesions(root: Path, name: str, tree: LesionTree, stem: str) -> None:
    switch = " --by-rank" if stem == BY_RANK else ""
    hint = (
        f"expected the tree {root}/ with {tree.layout}, and {stem}_{{train,val,test}}.json made "
        f"from it by `python datasets/prepare_lesion_dataset.py {name}{switch}` "
        "(DETECTRON2_DATASETS names the folder above it)"
    )
    for split in SPLITS:
        register_lesion_dataset(f"{name}_{stem}_{split}", root / f"{stem}_{split}.json", hint)


def _register_phantoms(root: Path) -> None:
    hint = (
        f"expected the tree {root}/image, mask, {{train,val,test}}.csv and lesion_*.json; make it "
        "with `python datasets/make_phantom.py` (DETECTRON2_DATASETS names the folder above it)"
    )
    for split in SPLITS:
        register_image_dataset(f"phantom_{split}", root / f"{split}.csv", hint=hint)
        for kind in PHANTOM_LESION_TYPES:
            file = root / f"lesion_{kind}_{split}.json"
            register_lesion_dataset(f"phantom_lesion_{kind}_{split}", file, hint)


def _register_covidx(root: Path, version: str, suffix: str) -> None:
    # B is A and more: its images may lie in A's folder. "images" comes last, as v1's may lie there.
    own = () if version == "v1" else (f"{suffix}_images", f"{suffix[0]}A_images")
    folders = dict.fromkeys((*own, "images"))
    hint = (
        f"expected the tree {root}/ with {{train,val,test}}_COVIDx_CT-{suffix}.txt, the images in "
        f"{' or '.join(folders)}, and perhaps metadata.csv, as COVIDx-CT is "
        "downloaded (DETECTRON2_DATASETS names the folder above it); for another layout, or a "
        "sample of it, `python datasets/prepare_covidx_ct.py` makes an image list"
    )
    images = [root / folder for folder in folders]
    lists = {split: root / f"{split}_COVIDx_CT-{suffix}.txt" for split in SPLITS}
    metadata = root / "metadata.csv"
    for split, file in lists.items():
        register_covidx_dataset(f"covidx_ct_{version}_{split}", file, images, metadata, hint=hint)
    if version == "v1":
        sample = root / AUTHOR_SAMPLE
        with_sample = hint.replace("and perhaps", f"{AUTHOR_SAMPLE}, and perhaps")
        name = "covidx_ct_v1_author_train"
        register_covidx_dataset(name, lists["train"], images, metadata, sample, with_sample)
