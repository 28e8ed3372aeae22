"""Data sets known by name: where their files are expected and what makes them.

All lie under $DETECTRON2_DATASETS (default: datasets); see datasets/README.md.
"""

import os
from pathlib import Path
from typing import NamedTuple

from .classes import PHANTOM_MASK_TYPES, SPLITS
from .covidx import VERSIONS
from .registration import register_covidx_dataset, register_image_dataset, register_lesion_dataset

BY_RANK = "lesion_by_rank"  # read as by the author's code, see `values_by_rank`
AUTHOR_SAMPLE = "author_classification_train.txt"
_ROOT_HINT = "(DETECTRON2_DATASETS names the folder above it)"


class LesionTree(NamedTuple):
    """A lesion data set as it is downloaded; its masks have the values of MASK_PRESETS."""

    folder: str  # under $DETECTRON2_DATASETS
    images: str  # folder of the slices in it
    masks: str
    layout: str  # the tree of files, for messages


LESION_TREES = {
    "cncb": LesionTree(
        "cncb_lesion",
        "image",
        "mask",
        "image/{patient}/{slice}.jpg and mask/{patient}/{slice}.png, or flat as "
        "{patient}_{slice}.jpg and .png",
    ),
    "medseg": LesionTree(
        "medseg_lesion", "images", "masks", "images/{slice}.png and masks/{slice}.png"
    ),
}


def datasets_root() -> Path:
    """Return $DETECTRON2_DATASETS, or "datasets" when it is not set."""
    return Path(os.environ.get("DETECTRON2_DATASETS") or "datasets")


def register_builtin() -> None:
    """Register the names below, under the root at the time of the call.

    phantom_{split} and phantom_lesion_{merge,both}_{split}; cncb_lesion_{split},
    cncb_lesion_by_rank_{split} and medseg_lesion_{split}; covidx_ct_{v1,v2a,v2b,v3a,v3b}_{split}
    and covidx_ct_v1_author_train. Nothing is read before a data set is used.
    """
    root = datasets_root()
    _register_phantoms(root / "phantom")
    for name, stem in (("cncb", "lesion"), ("medseg", "lesion"), ("cncb", BY_RANK)):
        _register_lesions(root, name, stem)
    for version, suffix in VERSIONS.items():
        _register_covidx(root / "covidx_ct", version, suffix)


def _register_lesions(datasets: Path, name: str, stem: str) -> None:
    tree = LESION_TREES[name]
    root = datasets / tree.folder
    hint = (
        f"expected the tree {root}/ with {tree.layout}, and {stem}_{{train,val,test}}.json made "
        f"from it by `ctmasknet prepare dataset {name}"
        f"{' --by-rank' if stem == BY_RANK else ''}` {_ROOT_HINT}"
    )
    for split in SPLITS:
        register_lesion_dataset(f"{name}_{stem}_{split}", root / f"{stem}_{split}.json", hint)


def _register_phantoms(root: Path) -> None:
    hint = (
        f"expected the tree {root}/image, mask, {{train,val,test}}.csv and lesion_*.json; make it "
        f"with `ctmasknet prepare phantom` {_ROOT_HINT}"
    )
    for split in SPLITS:
        register_image_dataset(f"phantom_{split}", root / f"{split}.csv", hint=hint)
        for kind in PHANTOM_MASK_TYPES:
            file = root / f"lesion_{kind}_{split}.json"
            register_lesion_dataset(f"phantom_lesion_{kind}_{split}", file, hint)


def _register_covidx(root: Path, version: str, suffix: str) -> None:
    # B contains A, so its images may lie in A's folder; "images", perhaps v1's, is the last choice.
    own = () if version == "v1" else (f"{suffix}_images", f"{suffix[0]}A_images")
    folders = dict.fromkeys((*own, "images"))
    hint = (
        f"expected the tree {root}/ with {{train,val,test}}_COVIDx_CT-{suffix}.txt, the images in "
        f"{' or '.join(folders)}, and perhaps metadata.csv, as COVIDx-CT is downloaded "
        f"{_ROOT_HINT}; for another layout, or a "
        "sample of it, `ctmasknet prepare covidx` makes an image list"
    )
    images = [root / folder for folder in folders]
    metadata = root / "metadata.csv"
    for split in SPLITS:
        file = root / f"{split}_COVIDx_CT-{suffix}.txt"
        register_covidx_dataset(f"covidx_ct_{version}_{split}", file, images, metadata, hint=hint)
    if version == "v1":
        file = root / f"train_COVIDx_CT-{suffix}.txt"
        hint = hint.replace("and perhaps", f"{AUTHOR_SAMPLE}, and perhaps")
        name = "covidx_ct_v1_author_train"
        register_covidx_dataset(name, file, images, metadata, root / AUTHOR_SAMPLE, hint)
