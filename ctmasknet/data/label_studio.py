"""Lesions as Label Studio's tasks, and what comes back from it.

Masks of its brush are run lengths in bits: a header (number of values in 32 bits, bits of a value
less 1 in 5, bits of four kinds of length less 1 in 4 each), then runs: 1 bit that tells a repeated
value from single ones, 2 for the kind of length, the length less 1, the value or values. Values are
the four channels of each pixel, by row. https://labelstud.io/tags/brushlabels shows the format.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlparse
from xml.sax.saxutils import quoteattr

import numpy as np
import pycocotools.mask as mask_util

from ..errors import ErrorPolicy
from .coco_entries import at_entry, entry_error, read_json
from .rle import compressed_rle

_LENGTHS = (3, 4, 8, 16)  # bits
_HEADER = 32 + 5 + 4 * 4
_CHANNELS = 4
LOCAL_FILES = "/data/local-files/?d="


def brush_rle(mask: np.ndarray) -> list[int]:
    """Encode a mask (H, W) bool for the brush."""
    values = mask.ravel()
    starts = np.flatnonzero(np.diff(values, prepend=~values[:1]))
    lengths = np.diff(starts, append=values.size) * _CHANNELS
    bits = [f"{values.size * _CHANNELS:032b}", f"{7:05b}", *(f"{x - 1:04b}" for x in _LENGTHS)]
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        value = "11111111" if values[start] else "00000000"
        while length:  # in pieces of the longest kind
            piece = min(length, 2 ** _LENGTHS[-1])
            kind = next(k for k, size in enumerate(_LENGTHS) if piece <= 2**size)
            bits.append(f"1{kind:02b}{piece - 1:0{_LENGTHS[kind]}b}{value}")
            length -= piece
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


def brush_mask(rle: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Decode a mask of the brush, (H, W) bool: set where its last channel is above 0.

    Raises a ValueError for what is no mask of that size.
    """
    height, width = size
    count = height * width * _CHANNELS
    try:
        text = "".join(f"{byte:08b}" for byte in bytes(rle))
        total, bits = int(text[:32], 2), int(text[32:37], 2) + 1
        lengths = [int(text[at : at + 4], 2) + 1 for at in range(37, _HEADER, 4)]
        if total != count:
            raise ValueError
        values = np.zeros(count, np.uint8)
        at, place = _HEADER, 0
        while place < count:
            repeated, kind = text[at] == "1", int(text[at + 1 : at + 3], 2)
            at += 3
            length = int(text[at : at + lengths[kind]], 2) + 1
            at += lengths[kind]
            if place + length > count:
                raise ValueError
            number = 1 if repeated else length
            found = [int(text[at + i * bits : at + (i + 1) * bits], 2) > 0 for i in range(number)]
            at += number * bits
            values[place : place + length] = found
            place += length
    except (IndexError, TypeError, ValueError):
        raise ValueError(
            f"not a usable mask of the brush of {height} x {width} pixels (height x width)"
        ) from None
    return values.reshape(height, width, _CHANNELS)[..., -1] > 0


def label_studio_tasks(coco: Mapping[str, Any], url: str = LOCAL_FILES) -> list[dict[str, Any]]:
    """Return a task for each image of a COCO dictionary, its lesions as predictions.

    Images are called by `url` and their file name.
    """
    names = {item["id"]: item["name"] for item in coco["categories"]}
    tasks = []
    for image in coco["images"]:
        mine = [x for x in coco["annotations"] if x["image_id"] == image["id"]]
        regions = [_region(x, names[x["category_id"]], image) for x in mine]
        prediction = {"model_version": "ctmasknet", "result": regions}
        data = {"image": url + quote(image["file_name"])}
        tasks.append({"data": data, "predictions": [prediction]})
    return tasks


def _region(lesion: Mapping[str, Any], name: str, image: Mapping[str, Any]) -> dict[str, Any]:
    size = (image["height"], image["width"])
    mask = mask_util.decode(compressed_rle(lesion["segmentation"], size)).astype(bool)
    return {
        "id": f"lesion{lesion['id']}",
        "from_name": "lesion",
        "to_name": "image",
        "type": "brushlabels",
        "original_width": size[1],
        "original_height": size[0],
        "image_rotation": 0,
        "score": lesion.get("score"),
        "value": {"format": "rle", "rle": brush_rle(mask), "brushlabels": [name]},
    }


def label_config(colours: Mapping[str, str]) -> str:
    """Return the labelling interface, XML, for lesion classes with their colours."""
    lines = [
        f"    <Label value={quoteattr(name)} background={quoteattr(colour)}/>"
        for name, colour in colours.items()
    ]
    return "\n".join(
        [
            "<View>",
            '  <Image name="image" value="$image" zoom="true"/>',
            '  <BrushLabels name="lesion" toName="image">',
            *lines,
            "  </BrushLabels>",
            "</View>\n",
        ]
    )


def is_label_studio(content: Any) -> bool:
    """Return whether the content of a JSON file is tasks of Label Studio."""
    return isinstance(content, list) and all(
        isinstance(task, dict) and isinstance(task.get("data"), dict) for task in content
    )


def read_label_studio(path: Path, errors: ErrorPolicy) -> dict[str, list[dict[str, Any]]]:
    """Read what Label Studio exports as JSON.

    Args:
        errors: policy for single regions that cannot be used.

    Returns:
        File name of each image with a submitted annotation -> its lesions: "class", "size" and
        "segmentation" (compressed RLE). Of several annotations the last one counts.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such export, with the place and the reason.
    """
    tasks = read_json(path, "corrected lesions")
    if not is_label_studio(tasks) or any("annotations" not in task for task in tasks):
        raise ValueError(f"{path}: no export of Label Studio as JSON (not JSON-MIN)")
    found: dict[str, list[dict[str, Any]]] = {}
    for index, task in enumerate(tasks):
        with at_entry(path, "task", index):
            name = _file_name(task["data"]["image"])
            submitted = [x for x in task["annotations"] if not x.get("was_cancelled")]
            if not submitted:
                continue
            if name in found:
                raise ValueError(f"{name} is there twice")
            regions = submitted[-1]["result"]
        found[name] = []
        for region in regions:
            try:
                found[name].append(_lesion(region))
            except (KeyError, TypeError, ValueError, IndexError) as error:
                errors.handle(entry_error(path, "task", index, error, region))
    return found


def _file_name(image: str) -> str:
    """Return the name of a file in the address of an image; uploads have a code before it."""
    parts = urlparse(image)
    return Path(parse_qs(parts.query).get("d", [parts.path])[0]).name


def _lesion(region: Mapping[str, Any]) -> dict[str, Any]:
    kind, value = region["type"], region["value"]
    size = (int(region["original_height"]), int(region["original_width"]))
    if kind == "brushlabels":
        mask = brush_mask(value["rle"], size)
        rle = mask_util.encode(np.asfortranarray(mask, np.uint8))
        segmentation: Any = {"size": list(rle["size"]), "counts": rle["counts"].decode()}
    elif kind == "polygonlabels":
        points = np.array(value["points"], float) * size[::-1] / 100  # from percent
        segmentation = compressed_rle([points.ravel().tolist()], size)
    else:
        raise ValueError(f"found {kind}, expected a brush or a polygon: draw the lesion's outline")
    (name,) = value[kind]
    return {"class": name, "size": size, "segmentation": segmentation}
