"""Datasets by name: files are registered lazily in Detectron2's catalogs."""

from __future__ import annotations

import difflib
import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import load_coco_json

from ..errors import RAISE, ErrorPolicy
from .classes import IMAGE_CLASSES
from .covidx import listed_sample, read_covidx_list
from .image_lists import load_image_list
from .images import require_files

_SOURCES: dict[str, str] = {}  # name -> the path, or the other data set, that it comes from


def register_lesion_dataset(name: str, json_file: str | os.PathLike, hint: str = "") -> None:
    """Register a COCO JSON of lesion instances; its classes are read when it is loaded.

    Args:
        name: name in the catalogs. Registering the same file again does nothing.
        json_file: COCO JSON; "file_name" in it is relative to the JSON's own folder.
        hint: how to make the file, for the error when it is missing.

    Raises:
        ValueError: the name belongs to another dataset.
    """
    path = os.path.abspath(json_file)
    root = os.path.dirname(path)
    if _claim(name, json_file=path, image_root=root, evaluator_type="coco"):
        DatasetCatalog.register(name, functools.partial(_load_lesions, name, path, hint))


def register_image_dataset(
    name: str,
    csv_file: str | os.PathLike,
    classes: Sequence[str] = IMAGE_CLASSES,
    hint: str = "",
) -> None:
    """Register an image list (see `load_image_list`) with its class names.

    Args:
        name: name in the catalogs. Registering the same list again does nothing.
        csv_file: CSV `file,label,patient,scan`.
        classes: class names in the order of the labels.
        hint: how to make the file, for the error when it is missing.

    Raises:
        ValueError: the name belongs to another dataset.
    """
    path = os.path.abspath(csv_file)
    if _claim(name, csv_file=path, image_classes=tuple(classes), evaluator_type="image"):
        DatasetCatalog.register(name, functools.partial(_load_images, path, tuple(classes), hint))


def register_derived_dataset(name: str, json_file: str | os.PathLike, source: str) -> None:
    """Register a lesion data set that was made from another one.

    One that was made from the same source before, perhaps in another folder, is replaced.

    Args:
        name: name in the catalogs.
        json_file: COCO JSON; it may be written after this call.
        source: name of the data set it is made from; `dataset_source` gives that one's source.

    Raises:
        ValueError: the name belongs to another dataset.
    """
    origin = dataset_source(source)
    if name in DatasetCatalog and _SOURCES.get(name) != origin:
        raise ValueError(
            f"dataset name '{name}' is taken by {dataset_source(name)}, but is needed for what is "
            f"made from {origin}; rename one of the two"
        )
    DatasetCatalog.pop(name, None)
    MetadataCatalog.pop(name, None)
    register_lesion_dataset(name, json_file)
    _SOURCES[name] = origin


def register_covidx_dataset(
    name: str,
    list_file: str | os.PathLike,
    images: Sequence[str | os.PathLike],
    metadata: str | os.PathLike | None = None,
    sample: str | os.PathLike | None = None,
    hint: str = "",
) -> None:
    """Register a split list of COVIDx-CT (see `read_covidx_list`).

    Args:
        name: name in the catalogs. Registering the same list again does nothing.
        list_file: the split list.
        images: folders that may hold the images; the first that exists does.
        metadata: metadata.csv; it is not missed when it does not exist.
        sample: list of names; only these slices are taken, in its order.
        hint: which files are expected and what makes them, for the error when they are missing.

    Raises:
        ValueError: the name belongs to another dataset.
    """
    path = os.path.abspath(list_file)
    keys = {"list_file": path, "sample_file": os.path.abspath(sample) if sample else ""}
    if _claim(name, **keys, image_classes=IMAGE_CLASSES, evaluator_type="image"):
        load = functools.partial(_load_covidx, path, tuple(images), metadata, sample, hint)
        DatasetCatalog.register(name, load)


def register_paths(names: Sequence[str], classes: Sequence[str] = IMAGE_CLASSES) -> tuple[str, ...]:
    """Let dataset files stand where dataset names are expected.

    Args:
        names: registered names, or paths ending in .json (lesions) or .csv (image list), which
            are registered under their stem.
        classes: class names of the CSVs.

    Returns:
        The names, each path replaced by its stem.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a stem that belongs to another dataset, or a name that is not registered.
    """
    return tuple(_register_path(name, classes) for name in names)


def dataset_source(name: str) -> str:
    """What a config must say to get a data set again.

    The absolute path of a data set that was given as a path; of one that was made from another
    one, that one's path or name; else the name.
    """
    return _SOURCES.get(name, name)


def read_dataset(name: str, errors: ErrorPolicy = RAISE) -> list[dict]:
    """The dicts of a registered data set, if need be without what is unusable in its lists.

    Args:
        name: a registered name.
        errors: of single lines of lists; where they are collected, nobody looks whether image
            files exist.

    Raises:
        FileNotFoundError, ValueError: as the data set's own reader.
    """
    if name not in DatasetCatalog:
        raise ValueError(_unregistered(name))
    load = DatasetCatalog[name]
    takes_policy = isinstance(load, functools.partial) and load.func in _READERS
    return load(errors=errors) if takes_policy else load()


def unusable_lesions(path: str | os.PathLike, error: Exception) -> ValueError:
    """The error for a file that is no COCO JSON, from the error that its reader met."""
    return ValueError(
        f"{path}: not a usable COCO instances file ({type(error).__name__}: {error}); make "
        "one with datasets/prepare_lesion_masks.py"
    )


def _register_path(name: str, classes: Sequence[str]) -> str:
    path = Path(name)
    suffix = path.suffix.lower()
    if suffix not in (".json", ".csv"):
        if name not in DatasetCatalog:
            raise ValueError(_unregistered(name))
        return name
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such dataset file")
    if suffix == ".json":
        register_lesion_dataset(path.stem, path)
    else:
        register_image_dataset(path.stem, path, classes)
    _SOURCES[path.stem] = str(path.resolve())
    return path.stem


def _claim(name: str, **metadata: Any) -> bool:
    """Set a dataset's metadata; False when the same dataset is already registered."""
    registered = name in DatasetCatalog
    known = MetadataCatalog.get(name)
    for key, value in metadata.items():
        found = known.get(key, None if registered else value)
        if found != value:
            raise ValueError(
                f"dataset name '{name}' is taken: its {key} is {found}, not {value}; "
                "choose another name (for a file: rename it)"
            )
    known.set(**metadata)
    return not registered


def _unregistered(name: str) -> str:
    known = DatasetCatalog.list()
    near = difflib.get_close_matches(name, known) or [n for n in known if "phantom" in n]
    return (
        f"dataset '{name}' is not registered, nearest names: {', '.join(near)}; or give "
        "the path of a .json (lesions) or .csv (image list)"
    )


def _require(path: str | os.PathLike, hint: str) -> None:
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file or folder" + (f"; {hint}" if hint else ""))


def _load_images(
    path: str, classes: tuple[str, ...], hint: str, errors: ErrorPolicy = RAISE
) -> list[dict]:
    _require(path, hint)
    return load_image_list(path, classes, errors)


def _load_covidx(
    path: str,
    images: Sequence[str | os.PathLike],
    metadata: str | os.PathLike | None,
    sample: str | os.PathLike | None,
    hint: str,
    errors: ErrorPolicy = RAISE,
) -> list[dict]:
    _require(path, hint)
    folder = next((folder for folder in images if os.path.isdir(folder)), images[-1])
    _require(folder, hint)
    known = metadata if metadata and os.path.isfile(metadata) else None
    records = read_covidx_list(path, folder, known, errors)
    if sample:
        _require(sample, hint)
        records = listed_sample(records, sample)
    if not errors.collects:
        require_files((record["file_name"] for record in records), path, folder)
    return records


def _load_lesions(name: str, path: str, hint: str, errors: ErrorPolicy = RAISE) -> list[dict]:
    _require(path, hint)
    try:
        records = load_coco_json(path, os.path.dirname(path), name)
        with open(path, encoding="utf-8") as stream:
            images = {image["id"]: image for image in json.load(stream)["images"]}
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise unusable_lesions(path, error) from error
    for record in records:  # Detectron2 leaves an image's own keys out
        image = images[record["image_id"]]
        record.update({key: image[key] for key in ("patient", "scan") if key in image})
    if not errors.collects:
        require_files((record["file_name"] for record in records), listed_in=path)
    return records


_READERS = (_load_images, _load_covidx, _load_lesions)
