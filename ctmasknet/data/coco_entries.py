"""What truth and detections in COCO's format share, each entry checked as it is read."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import RAISE, ErrorPolicy
from ..limits import check_list_size
from .images import what_else_it_is
from .rle import compressed_rles

NOT_COCO = "not in COCO's format"
_UNUSABLE = (AttributeError, KeyError, TypeError, ValueError)
_LONGEST = 400  # characters of a reason, as it may quote what was found


def read_categories(path: Path, items: list) -> list[dict]:
    """Read ids and names of classes, all ids different; errors as `at_entry`."""
    categories = []
    for index, item in enumerate(items):
        with at_entry(path, "category", index):
            check_object(item)
            categories.append({"id": item["id"], "name": read_name(item, "name")})
    check_different(path, "category", "id", [x["id"] for x in categories])
    return categories


def read_entries(
    path: Path,
    kind: str,
    items: Sequence[Any],
    sizes: Mapping,
    names: Mapping,
    read_more: Callable[[dict], dict],
    masks: bool = True,
    errors: ErrorPolicy = RAISE,
) -> dict[int, dict]:
    """Read image, class, box and mask of annotations or detections.

    Args:
        path: the file, for messages.
        kind: what an item is, for messages.
        items: the annotations or detections.
        sizes: image id -> (height, width).
        names: category id -> name.
        read_more: returns what else an item has; it may raise a ValueError.
        masks: False leaves masks out where there is a box.
        errors: policy for items that cannot be used.

    Returns:
        Index of the item -> "image_id", "category_id", "bbox" where it is stated, "segmentation"
        (compressed RLE) where there is a mask, and what `read_more` has returned.
    """
    found: dict[int, dict] = {}
    with_mask: dict[int, Any] = {}
    for index, item in enumerate(items):
        try:
            check_object(item)
            entry = {**_read_entry(item, sizes, names), **read_more(item)}
            mask = item.get("segmentation")
            if not mask and "bbox" not in entry:
                raise ValueError("neither bbox nor segmentation")
        except _UNUSABLE as error:
            errors.handle(entry_error(path, kind, index, error, item))
            continue
        found[index] = entry
        if mask and (masks or "bbox" not in entry):
            with_mask[index] = mask
    image_sizes = [sizes[found[index]["image_id"]] for index in with_mask]
    made = compressed_rles(list(with_mask.values()), image_sizes)
    for index, mask in zip(with_mask, made, strict=True):
        if isinstance(mask, Exception):
            del found[index]
            errors.handle(entry_error(path, kind, index, mask, items[index]))
        else:
            found[index]["segmentation"] = mask
    return found


def _read_entry(item: dict, sizes: Mapping, names: Mapping) -> dict:
    image, category, box = item.get("image_id"), item.get("category_id"), item.get("bbox")
    if type(image) not in (int, str) or image not in sizes:
        raise ValueError(f"unknown image_id {image!r}, not among the images{_other(image, sizes)}")
    if type(category) not in (int, str) or category not in names:
        valid = ", ".join(f"{key} ({name})" for key, name in names.items())
        raise ValueError(f"unknown category_id {category!r}, expected {valid}")
    found = {"image_id": image, "category_id": category}
    if box is not None and box != []:
        if not isinstance(box, list):
            raise ValueError(f"{NOT_COCO} (bbox is {box!r}, expected x, y, width, height)")
        found["bbox"] = read_numbers(box, "bbox")
        if len(box) != 4:
            raise ValueError(f"bbox of {len(box)} numbers, expected x, y, width, height")
    return found


def _other(key: Any, known: Mapping) -> str:
    """Tell of an id that is there as another type."""
    same = next((x for x in known if str(x) == str(key)), None)
    return "" if same is None else f", where it is {same!r}: write ids alike in both places"


def check_object(item: Any) -> None:
    """Raise a ValueError for an entry that is no JSON object."""
    if not isinstance(item, dict):
        raise ValueError(f"{NOT_COCO} (found {item!r}, expected an object of keys and values)")


def read_name(item: dict, key: str) -> str:
    """Return a text that is not empty; ValueError for anything else."""
    if not isinstance(item[key], str) or not item[key]:
        raise ValueError(f"{key} is {item[key]!r}, expected a name")
    return item[key]


def check_different(path: Path, kind: str, key: str, values: list) -> None:
    """Raise a ValueError for values that are there twice, or not all integers or all strings."""
    seen: dict[Any, int] = {}
    for index, value in enumerate(values):
        with at_entry(path, kind, index):
            if type(value) not in (int, str) or type(value) is not type(values[0]):
                raise ValueError(f"{key} is {value!r}, expected all integers or all strings")
            if value in seen:
                raise ValueError(f"{key} {value!r} is there twice, also in {kind} {seen[value]}")
            seen[value] = index


def read_numbers(values: list, name: str, least: float = -sys.float_info.max) -> list[float]:
    """Return finite numbers as floats; ValueError for anything else, or one below `least`."""
    if not all(type(x) in (int, float) and least <= x <= sys.float_info.max for x in values):
        what = "a number from 0 on" if least == 0 else "numbers"
        raise ValueError(f"{name} is {values[0] if len(values) == 1 else values}, expected {what}")
    return [float(x) for x in values]


def entry_error(
    path: Path, kind: str, index: int, error: Exception, item: Any = None
) -> ValueError:
    """Make an error one line that names the place, and the id of the item if it has one."""
    reason = str(error)
    if isinstance(error, KeyError):
        reason = f"{NOT_COCO} (no {error})"
    elif not isinstance(error, ValueError):
        reason = f"{NOT_COCO} ({error})"
    if len(reason) > _LONGEST:
        reason = f"{reason[:_LONGEST]}..."
    known = f" (its id is {item['id']!r})" if isinstance(item, dict) and "id" in item else ""
    return ValueError(f"{path}, {kind} {index}: {reason}{known}")


@contextlib.contextmanager
def at_entry(path: Path, kind: str, index: int) -> Iterator[None]:
    """Raise `entry_error` for what goes wrong inside."""
    try:
        yield
    except _UNUSABLE as error:
        raise entry_error(path, kind, index, error) from None


def read_json(path: Path, kind: str) -> Any:
    """Return the content of a file; FileNotFoundError, or ValueError for what is no JSON."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of {kind}")
    check_list_size(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{path}: not JSON ({what_else_it_is(path) or error})") from None
