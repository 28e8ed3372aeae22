"""COVIDx-CT: split lists of `filename class xmin ymin xmax ymax` -> Detectron2 dataset dicts.

Version 1 holds CNCB slices alone; 2 and 3 (A: verified findings, B: all) add other sources, each
with file names of its own form, from which patient, scan and slice number are read.
"""

import os
import random
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..errors import RAISE, ErrorPolicy
from .classes import IMAGE_CLASSES
from .list_files import parse_lines, pick_named, read_csv, read_lines
from .list_paths import listed_path

VERSIONS = {"v1": "1", "v2a": "2A", "v2b": "2B", "v3a": "3A", "v3b": "3B"}
LIST_LINE = "filename class xmin ymin xmax ymax"
_CNCB_CLASSES = ("Normal", "CP", "NCP")  # index = label
_CNCB = re.compile(r"(?P<patient>(?P<group>Normal|CP|NCP)_\d+)_\d+_(?P<slice>\d+)")
# In the names of the author's copies, the label stands in place of the group.
_AUTHOR = re.compile(r"(?P<label>[012])_(?P<rest>\d+_\d+_\d+)")
_OTHERS = re.compile(
    r"""(?P<scan>(?P<patient>
        coronacases_\d+ | radiopaedia_\d+_\d+_\d+ | radiopaedia-\d+ | volume-covid\d+-A-\d+(?:_\d+)?
        | \w*?patient\d+ | LIDC-IDRI-\d+ | study_\d+ | HUST-Patient\d+ | COVIDCTMD-[A-Za-z]+\d+
        | STOIC-\d+ | A\d+)
        (?:[-_].+?)?)[-_](?:IM)?(?P<slice>\d+)""",
    re.VERBOSE,
)


class SliceName(NamedTuple):
    """The parts of a slice's file name; label is None where the name does not tell the class."""

    patient: str
    scan: str
    slice_number: int
    label: int | None


def parse_slice_name(name: str) -> SliceName | None:
    """Read a file name of COVIDx-CT or of the author; None when it has none of their forms.

    Folders and extension do not matter. The author's `2_96_1328_0032.png` gives the same as
    `NCP_96_1328_0032.png`.
    """
    stem = os.path.splitext(os.path.basename(name))[0]
    if match := _AUTHOR.fullmatch(stem):
        stem = f"{_CNCB_CLASSES[int(match['label'])]}_{match['rest']}"
    if match := _CNCB.fullmatch(stem):
        label = _CNCB_CLASSES.index(match["group"])
        return SliceName(match["patient"], stem.rpartition("_")[0], int(match["slice"]), label)
    if match := _OTHERS.fullmatch(stem):
        return SliceName(match["patient"], match["scan"], int(match["slice"]), None)
    return None


def read_covidx_list(
    path: str | os.PathLike,
    images: str | os.PathLike | None = None,
    metadata: str | os.PathLike | None = None,
    errors: ErrorPolicy = RAISE,
) -> list[dict]:
    """Read a split list of COVIDx-CT.

    Args:
        path: text file without a header, `filename class xmin ymin xmax ymax` a line.
        images: folder of the images, which need not exist; None leaves bare names in "file_name".
        metadata: the data set's metadata.csv (`patient id`, `source`, ...). Its patient ids win
            over those in file names where one patient has several scans under numbered names.
        errors: policy for unusable lines.

    Returns:
        One dict a line: file_name, image_id (the name), label (0 Control, 1 Common Pneumonia,
        2 COVID-19), patient, scan, source ("" when unknown) and body_box [x0, y0, x1, y1] in
        pixels, half-open; it may reach beyond 512 where the image is larger.

    Raises:
        FileNotFoundError: no such list or metadata.
        ValueError: a line that is wrong, or a list without a usable line.
    """
    path = Path(path)
    lines = read_lines(path, f"split list (lines of `{LIST_LINE}`)")
    sources: dict[str, str] = {}
    if metadata is not None:
        columns = ("patient id", "source")
        rows = read_csv(Path(metadata), "metadata file of COVIDx-CT", columns)
        sources = {row["patient id"]: row["source"] or "" for _, row in rows}
    parse = partial(_parse_line, images=images, sources=sources)
    records = parse_lines(path, lines, parse, errors)
    if not records:
        raise ValueError(f"{path}: found no usable line, expected `{LIST_LINE}`")
    return records


def balanced_sample(records: Sequence[dict], per_class: int, seed: int) -> list[dict]:
    """Draw `per_class` slices of each class, in the order of `records`, the same on any machine.

    The papers' 3,000 training slices are 1,000 of each class. ValueError when a class has fewer.
    """
    labels = [record["label"] for record in records]
    chosen: list[int] = []
    for label in sorted(set(labels)):
        indices = [index for index, found in enumerate(labels) if found == label]
        if not 1 <= per_class <= len(indices):
            raise ValueError(
                f"class {label} has {len(indices)} slices, cannot draw {per_class} of it"
            )
        chosen += random.Random(f"{seed} {label}").sample(indices, per_class)
    return [records[index] for index in sorted(chosen)]


def listed_sample(records: Sequence[dict], names: str | os.PathLike) -> list[dict]:
    """Pick the slices that a text file names, such as the author's 3,000, in its order.

    A line is a file name of COVIDx-CT or the author's {0,1,2}_{patient}_{scan}_{slice}.png.
    Errors as of `pick_named`.
    """
    by_slice = {slice_key(record["image_id"]): record for record in records}
    unknown = "is not in the split list; was it drawn from another version or split?"
    return pick_named(names, by_slice, slice_key, unknown)


def slice_key(name: str) -> SliceName | str:
    """Return a key that is the same for COVIDx-CT's name of a slice and the author's."""
    return parse_slice_name(name) or name


def _parse_line(text: str, images: str | os.PathLike | None, sources: dict[str, str]) -> dict:
    fields = text.split()
    if len(fields) != 6:
        raise ValueError(f"found {len(fields)} fields, expected 6 (`{LIST_LINE}`)")
    name, label, *corners = fields
    if label not in ("0", "1", "2"):
        meaning = ", ".join(f"{k} {name}" for k, name in enumerate(IMAGE_CLASSES))
        raise ValueError(f"class '{label}', expected {meaning}")
    if not all(corner.isdecimal() for corner in corners):
        raise ValueError(f"box '{' '.join(corners)}', expected four whole numbers >= 0")
    x0, y0, x1, y1 = map(int, corners)
    if x0 >= x1 or y0 >= y1:
        raise ValueError(f"box '{' '.join(corners)}' is empty, expected xmin < xmax, ymin < ymax")
    parsed = parse_slice_name(name)
    if parsed is None:
        raise ValueError(
            f"{name} has no known form of COVIDx-CT names, so its patient is unknown: list such "
            "images in a CSV file,label,patient,scan"
        )
    patient, source = _look_up(parsed.patient, sources)
    return {
        "file_name": name if images is None else listed_path(name, images),
        "image_id": name,
        "label": int(label),
        "patient": patient,
        "scan": parsed.scan,
        "source": source,
        "body_box": [x0, y0, x1, y1],
    }


def _look_up(patient: str, sources: dict[str, str]) -> tuple[str, str]:
    """Find the patient's name in the metadata, and the source."""
    if patient in sources:
        return patient, sources[patient]
    # radiopaedia_10_85902_1 and _3 are scans of radiopaedia_10_85902.
    whole = patient.rpartition("_")[0]
    if patient.startswith("radiopaedia_") and whole in sources:
        return whole, sources[whole]
    # The metadata call 137covid_patient1 patient1: the first part is the hospital's group.
    return patient, sources.get(patient.rpartition("_")[2], "")
