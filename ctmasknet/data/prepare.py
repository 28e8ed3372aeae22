"""Downloaded data sets -> the image lists and COCO files that training reads.

Each function returns what it wrote, in words. A file or an argument that cannot be used raises
FileNotFoundError or ValueError.
"""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ..errors import RAISE, ErrorPolicy
from .builtin import BY_RANK, LESION_TREES, datasets_root
from .classes import (
    IMAGE_CLASSES,
    MASK_PRESETS,
    MIN_LESION_AREA,
    SPLITS,
    MaskValues,
    default_mask_type,
)
from .covidx import balanced_sample, listed_sample, read_covidx_list
from .image_lists import describe_records, usable_images, write_image_list
from .lesion_masks import coco_from_pairs, part_file, write_parts
from .mask_pairs import Pair, listed_pairs, pair_files, with_flattened_patients
from .splits import split_coco


def prepare_covidx(
    list_file: Path,
    output: Path,
    images: Path,
    metadata: Path | None = None,
    per_class: int | None = None,
    sample: Path | None = None,
    seed: int = 0,
    errors: ErrorPolicy = RAISE,
) -> str:
    """Turn a split list of COVIDx-CT into an image list, a .csv.

    All its slices are taken, or those that the list `sample` names, or `per_class` of each class
    drawn with `seed`. `errors` is the policy for unusable lines and images.
    """
    if output.suffix.lower() != ".csv" or output.is_dir():
        raise ValueError(f"{output}: expected the name of a .csv file to write")
    if not images.is_dir():
        raise FileNotFoundError(f"{images}: no such folder of images")
    records = read_covidx_list(list_file, images, metadata, errors)
    if sample:
        records = listed_sample(records, sample)
    elif per_class is not None:
        records = balanced_sample(records, per_class, seed)
    records = usable_images(records, errors)
    advice = write_image_list(records, IMAGE_CLASSES, output)
    found = f"{output}: {describe_records(records, dict(enumerate(IMAGE_CLASSES)))}"
    return "\n".join([found, *advice])


def prepare_lesion_masks(
    images: Path,
    masks: Path,
    output: Path,
    preset: str = "cncb",
    values: str | None = None,
    mask_type: str | None = None,
    min_area: int = MIN_LESION_AREA,
    val_fraction: float | None = None,
    seed: int = 0,
    errors: ErrorPolicy = RAISE,
) -> str:
    """Turn folders of slices and value masks into a COCO file of lesions.

    With `val_fraction`, that share of the patients goes to <stem>_val.json and the rest to
    <stem>_train.json. `values`, as `MaskValues.parse` reads it, replaces the preset. `mask_type`
    is a rule as `MaskRule.parse` reads it; None is `default_mask_type`. With the preset "cncb",
    flat names {patient}_{slice} tell the patients. `errors` is the policy for unusable pairs.
    """
    if output.suffix.lower() != ".json" or output.is_dir():
        raise ValueError(f"{output}: expected the name of a .json file to write")
    if min_area < 0:
        raise ValueError(f"--min-area {min_area}: expected 0 or more pixels")
    if val_fraction is not None and not 0 < val_fraction < 1:
        raise ValueError(f"--val-fraction {val_fraction}: expected between 0 and 1")
    pairs = pair_files(images, masks, errors)
    if values is None and preset == "cncb":
        pairs = with_flattened_patients(pairs)
    meaning = MASK_PRESETS[preset] if values is None else MaskValues.parse(values)
    if mask_type is None:
        mask_type = default_mask_type(meaning)
    coco = coco_from_pairs(
        pairs, output.parent, meaning, mask_type, min_area, whole_images=True, errors=errors
    )
    parts = {"": coco} if val_fraction is None else _train_and_val(coco, val_fraction, seed)
    # Stated because the wrong preset reads GGO as lung without any error.
    said = ", ".join(f"{value} {name}" for value, name in meaning.names.items())
    return f"mask values: {said}\n{write_parts(parts, output)}"


def prepare_lesion_dataset(
    dataset: str,
    root: Path | None = None,
    split: Sequence[float] = (0.7, 0.1, 0.2),
    lists: Sequence[str | os.PathLike] | None = None,
    val_fraction: float = 0.0,
    seed: int = 0,
    by_rank: bool = False,
    errors: ErrorPolicy = RAISE,
) -> str:
    """Make the COCO files of the registered names of `dataset`, a key of LESION_TREES.

    Patients are split by the shares in `split`, or by the published `lists` of training and test
    slices, of whose training patients `val_fraction` become "val". `root` is the data set's folder,
    if not the one under $DETECTRON2_DATASETS. `errors` is the policy for unusable pairs.
    """
    if by_rank and dataset != "cncb":
        raise ValueError("--by-rank: the author's code knows CNCB's masks only")
    if not 0 <= val_fraction < 1 or (val_fraction and not lists):
        raise ValueError("--val-fraction: expected 0 to below 1, together with --lists")
    tree = LESION_TREES[dataset]
    root = root or datasets_root() / tree.folder
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; expected {tree.layout} in it")
    pairs = pair_files(root / tree.images, root / tree.masks, errors)
    if dataset == "cncb":
        pairs = with_flattened_patients(pairs)
    make_coco = partial(
        coco_from_pairs,
        root=root,
        values=MASK_PRESETS[dataset],
        mask_type="both",
        min_area=0,
        by_rank=by_rank,
        whole_images=True,
        errors=errors,
    )
    if lists:
        chosen = _pairs_by_lists(pairs, dict(zip(("train", "test"), lists, strict=True)))
        parts = {part: make_coco(mine) for part, mine in chosen.items()}
        if val_fraction:
            parts.update(_train_and_val(parts["train"], val_fraction, seed))
    else:
        parts = split_coco(make_coco(pairs), dict(zip(SPLITS, split, strict=True)), seed)
    output = root / f"{BY_RANK if by_rank else 'lesion'}.json"
    lines = [write_parts(parts, output)]
    for part in set(SPLITS) - set(parts):
        # An older file would share patients with the new parts.
        part_file(output, part).unlink(missing_ok=True)
        lines.append(f"no {part} part (see --val-fraction)")
    if not any("patient" in extra for _, _, extra in pairs):
        lines.append("patients are unknown: one patient's slices may be in two parts")
    return "\n".join(lines)


def _train_and_val(coco: dict, val_fraction: float, seed: int) -> dict[str, dict]:
    return split_coco(coco, {"train": 1 - val_fraction, "val": val_fraction}, seed)


def _pairs_by_lists(
    pairs: Sequence[Pair], lists: Mapping[str, str | os.PathLike]
) -> dict[str, list[Pair]]:
    """Pick the pairs that each part's list names; ValueError when two parts share a patient."""
    chosen = {part: listed_pairs(pairs, names) for part, names in lists.items()}
    part_of: dict[str, str] = {}
    for part, mine in chosen.items():
        for image, _, extra in mine:
            patient = extra.get("patient", image.name)
            if part_of.setdefault(patient, part) != part:
                raise ValueError(
                    f"{lists[part]}: patient {patient} is in the list of {part_of[patient]}, too: "
                    "a patient must be in one part only"
                )
    return chosen
