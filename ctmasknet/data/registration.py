"""Data sets by name: files are registered lazily in Detectron2's catalogs.

Registering the same file under the same name again does nothing. A name that belongs to another
data set raises ValueError.
"""

import difflib
import inspect
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from ..errors import RAISE, ErrorPolicy
from .classes import IMAGE_CLASSES
from .coco_lesions import category_names, in_file, located_images, read_coco_lesions
from .covidx import listed_sample, read_covidx_list
from .image_lists import load_image_list
from .images import require_files
from .scan_lesions import LESION_ID, SCAN_KEYS

_IMAGE_KEYS = ("height", "width", *SCAN_KEYS)
_id = operator.itemgetter("id")
_SOURCES: dict[str, str] = {}  # name -> the path or data set that it comes from
_FILES: dict[str, Path] = {}  # name -> its file, which may not be there


def register_lesion_dataset(
    name: str, json_file: str | os.PathLike, hint: str = "", checked: bool = False
) -> None:
    """Register a COCO JSON of lesion instances; its classes are read when it is loaded.

    Args:
        json_file: "file_name" in it is relative to the JSON's own folder (`listed_path`).
        hint: how to make the file, for the error when it is missing.
        checked: names in it may lead anywhere, as they come from files that have been checked.
    """
    path = os.path.abspath(json_file)
    root = os.path.dirname(path)

    def load(errors: ErrorPolicy = RAISE) -> list[dict]:
        _require(path, hint)
        coco = read_coco_lesions(path, errors).coco
        with in_file(path):
            names = list(category_names(coco))
        ids = {x["id"]: k for k, x in enumerate(sorted(coco["categories"], key=_id))}
        MetadataCatalog.get(name).set(thing_classes=names, thing_dataset_id_to_contiguous_id=ids)
        images = coco["images"] if checked else located_images(path, coco)
        records = lesion_records({**coco, "images": images}, root, ids)
        if not errors.collects:
            require_files((record["file_name"] for record in records), listed_in=path)
        return records

    _register(name, load, json_file=path, image_root=root, evaluator_type="coco")


def lesion_records(coco: dict, root: str, labels: Mapping[int | str, int]) -> list[dict]:
    """Make Detectron2's dataset dicts of a checked COCO dictionary, by the ids of images.

    Args:
        coco: see `CocoLesions`.
        root: the folder that "file_name" is relative to.
        labels: category id -> index of the class.
    """
    own: dict[int | str, list[dict]] = {image["id"]: [] for image in coco["images"]}
    for item in coco["annotations"]:
        keys = ("iscrowd", "bbox", "segmentation", LESION_ID)
        lesion = {key: item[key] for key in keys if key in item}
        label = {"category_id": labels[item["category_id"]], "bbox_mode": BoxMode.XYWH_ABS}
        own[item["image_id"]].append({**lesion, **label})
    return [
        {
            "file_name": os.path.join(root, image["file_name"]),
            "image_id": image["id"],
            "annotations": own[image["id"]],
            **{key: image[key] for key in _IMAGE_KEYS if key in image},
        }
        for image in sorted(coco["images"], key=_id)
    ]


def register_image_dataset(
    name: str,
    csv_file: str | os.PathLike,
    classes: Sequence[str] = IMAGE_CLASSES,
    hint: str = "",
) -> None:
    """Register an image list (see `load_image_list`) with its class names.

    Args:
        csv_file: CSV `file,label,patient,scan`.
        classes: class names in the order of the labels.
        hint: how to make the file, for the error when it is missing.
    """
    path, names = os.path.abspath(csv_file), tuple(classes)

    def load(errors: ErrorPolicy = RAISE) -> list[dict]:
        _require(path, hint)
        return load_image_list(path, names, errors)

    _register(name, load, csv_file=path, image_classes=names, evaluator_type="image")


def register_derived_dataset(name: str, json_file: str | os.PathLike, source: str) -> None:
    """Register a lesion data set that is made from another one, `source`; the file may come later.

    It replaces one that was made from the same source before, perhaps in another folder.
    """
    origin = dataset_source(source)
    if name in DatasetCatalog and _SOURCES.get(name) != origin:
        raise ValueError(
            f"dataset name '{name}' is taken by {dataset_source(name)}, but is needed for what is "
            f"made from {origin}; rename one of the two"
        )
    DatasetCatalog.pop(name, None)
    MetadataCatalog.pop(name, None)
    register_lesion_dataset(name, json_file, checked=True)
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

    `images` are folders that may hold the images: the first that exists is taken. `metadata` may be
    missing. `sample` is a list of names: only these slices are taken, in its order. `hint` tells
    which files are expected and what makes them, for the error when they are missing.
    """
    path = os.path.abspath(list_file)

    def load(errors: ErrorPolicy = RAISE) -> list[dict]:
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

    keys = {"list_file": path, "sample_file": os.path.abspath(sample) if sample else ""}
    _register(name, load, **keys, image_classes=IMAGE_CLASSES, evaluator_type="image")


def register_paths(names: Sequence[str], classes: Sequence[str] = IMAGE_CLASSES) -> tuple[str, ...]:
    """Register the files among the names of data sets, and return the names to use.

    A path ending in .json (lesions) or .csv (image list, with these classes) is registered under
    its stem. FileNotFoundError: no such file. ValueError: a stem that belongs to another data set,
    or a name that is not registered.
    """
    found = []
    for name in names:
        path = Path(name)
        suffix = path.suffix.lower()
        if suffix not in (".json", ".csv"):
            _require_registered(name)
            found.append(name)
            continue
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such dataset file")
        if suffix == ".json":
            register_lesion_dataset(path.stem, path)
        else:
            register_image_dataset(path.stem, path, classes)
        _SOURCES[path.stem] = str(path.resolve())
        found.append(path.stem)
    return tuple(found)


def dataset_source(name: str) -> str:
    """Return what a config must name to get a data set again.

    That is the absolute path of a data set that was given as a path, the source of a derived one,
    or else the name.
    """
    return _SOURCES.get(name, name)


def registered_files() -> dict[str, Path]:
    """Return the name and the file of each data set that was registered here, by name."""
    names = sorted(name for name in _FILES if name in DatasetCatalog)
    return {name: _FILES[name] for name in names}


def read_dataset(name: str, errors: ErrorPolicy = RAISE) -> list[dict]:
    """Read a registered data set; errors are those of its own reader.

    `errors` is the policy for single lines of lists. One that collects lets missing images pass.
    """
    _require_registered(name)
    load = DatasetCatalog[name]
    return load(errors=errors) if "errors" in inspect.signature(load).parameters else load()


def _register(name: str, load: Callable[..., list[dict]], **metadata: Any) -> None:
    """Fill the catalogs, unless the same data set is registered already."""
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
    _FILES[name] = Path(next(iter(metadata.values())))
    if not registered:
        DatasetCatalog.register(name, load)


def _require_registered(name: str) -> None:
    known = DatasetCatalog.list()
    if name in known:
        return
    near = difflib.get_close_matches(name, known) or [n for n in known if "phantom" in n]
    raise ValueError(
        f"dataset '{name}' is not registered, nearest names: {', '.join(near)}; or give "
        "the path of a .json (lesions) or .csv (image list)"
    )


def _require(path: str | os.PathLike, hint: str) -> None:
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file or folder" + (f"; {hint}" if hint else ""))
