"""nnU-Net's folders of training data: imagesTr, labelsTr and dataset.json."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import RAISE, ErrorPolicy
from .classes import MaskValues
from .coco_entries import read_json

_IMAGES, _LABELS, _ABOUT = "imagesTr", "labelsTr", "dataset.json"
_CHANNEL = re.compile(r"(.+)_(\d{4})")  # CASE_0000 of an image, whose label map is CASE


@dataclass(frozen=True)
class NnunetCase:
    """A scan with its label map."""

    name: str
    image: Path
    labels: Path


def is_nnunet(folder: Path) -> bool:
    """Return whether a folder is one of nnU-Net's data sets."""
    return (folder / _ABOUT).is_file() and (folder / _IMAGES).is_dir()


def case_name(stem: str) -> str:
    """Return the case of the stem of an image, which may be CASE_0000; others are their own."""
    found = _CHANNEL.fullmatch(stem)
    return found[1] if found else stem


def read_nnunet(
    folder: Path, values: MaskValues | None = None, errors: ErrorPolicy = RAISE
) -> tuple[list[NnunetCase], MaskValues]:
    """Read the cases of a data set and what the values of its label maps mean.

    `values` take the place of its labels. Raises a ValueError for a dataset.json without usable
    labels, or with regions or an ignore label, which lesion classes cannot be; a FileNotFoundError
    for a folder without a case. `errors` is the policy for single cases, whose file of images or
    labels lacks, or which have several channels.
    """
    about = read_json(folder / _ABOUT, "nnU-Net's data set")
    about = about if isinstance(about, dict) else {}
    values = values or _values(folder / _ABOUT, about.get("labels"))
    ending = str(about.get("file_ending", ".nii.gz"))
    images = {path.name.removesuffix(ending): path for path in _files(folder / _IMAGES, ending)}
    labels = {path.name.removesuffix(ending): path for path in _files(folder / _LABELS, ending)}
    cases = []
    for stem, path in images.items():
        found = _CHANNEL.fullmatch(stem)
        if found is None or found[2] != "0000":
            errors.handle(
                f"{path}: expected CASE_0000{ending}, the only channel of a CT: other channels "
                "cannot be read; keep the CT alone"
            )
        elif (mask := labels.pop(found[1], None)) is None:
            errors.handle(FileNotFoundError(f"{path}: no {found[1]}{ending} in {folder / _LABELS}"))
        else:
            cases.append(NnunetCase(found[1], path, mask))
    for path in labels.values():
        errors.handle(FileNotFoundError(f"{path}: no scan of it in {folder / _IMAGES}"))
    if not cases:
        raise FileNotFoundError(f"{folder}: found no case, expected {_IMAGES}/CASE_0000{ending}")
    return cases, values


def nnunet_json(names: Sequence[str], values: Sequence[int], cases: int) -> dict:
    """Return a dataset.json for label maps with these classes."""
    labels = {"background": 0, **dict(zip(names, values, strict=True))}
    about = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": cases}
    return {**about, "file_ending": ".nii.gz"}


def _files(folder: Path, ending: str) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder, expected one of nnU-Net's data set")
    found = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in found if path.name.endswith(ending))


def _values(path: Path, labels: object) -> MaskValues:
    if not isinstance(labels, dict) or not labels:
        raise ValueError(f'{path}: no "labels", expected {{"background": 0, "GGO": 1, ...}}')
    if any(isinstance(value, list) for value in labels.values()):
        raise ValueError(
            f"{path}: its labels are regions of several values, which overlap: a voxel has one "
            'lesion class; name each value by --values "1=GGO,2=C"'
        )
    if "ignore" in labels:
        raise ValueError(
            f"{path}: has the label 'ignore', but training cannot leave voxels out: say what it "
            'is by --values, as in "1=GGO,2=background"'
        )
    old = all(str(key).isdecimal() for key in labels)  # {"1": "GGO"}, before version 2
    pairs = [(v, k) if old else (k, v) for k, v in labels.items()]
    try:
        named = {int(value): str(name) for name, value in pairs if int(value)}
        if len(named) < sum(bool(int(value)) for _, value in pairs):
            raise ValueError("one value has two names")
        return MaskValues(named)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: labels {labels}: {error}") from None
