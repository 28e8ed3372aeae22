"""Splits of data sets by patient, stratified by label."""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import RAISE, ErrorPolicy
from .classes import IMAGE_CLASSES, SPLITS
from .coco_lesions import located_images, read_coco_lesions
from .covidx import read_covidx_list
from .image_lists import describe_records, usable_images, write_image_list
from .lesion_masks import write_parts
from .list_files import parse_lines, read_csv, required_values, write_csv
from .list_paths import listed_path, reading_advice, relative_path


def written_alike(name: str) -> str:
    """Return a patient's or scan's name as one text for 7, 007 and 7.0, which programs mix up."""
    plain = re.fullmatch(r"0*(\d+)(\.0+)?", name.strip())
    return plain[1] if plain else name


def split_patients(
    labels: Mapping[str, str], weights: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Distribute patients over parts, each label in the same proportions.

    `labels` maps patients to labels, `weights` parts to shares; (0.7, 0.1, 0.2) and (7, 1, 2) are
    the same. Returns patient -> part, the same on any machine for one seed. Of each label, and of
    all, a part has its share to within two patients; every part has at least one. ValueError: a
    weight that is not positive, a part whose name no file can have, fewer than two parts, fewer
    patients than parts, or two patients of one number (`written_alike`).
    """
    known: dict[str, str] = {}
    for patient in map(str, labels):
        if (other := known.setdefault(written_alike(patient), patient)) != patient:
            raise ValueError(
                f"found the patients {other} and {patient}, which may be one: write one patient in "
                "one way, and two in different letters"
            )
    if len(weights) < 2 or not all(0 < weight < float("inf") for weight in weights.values()):
        raise ValueError(f"parts {dict(weights)}: expected two or more with positive shares")
    unusable = [part for part in weights if not re.fullmatch(r"\w[\w.-]*", part)]
    if unusable:
        raise ValueError(f"part '{unusable[0]}': expected a name of letters, digits, _ . and -")
    if len(labels) < len(weights):
        raise ValueError(
            f"found {len(labels)} patient(s), expected at least {len(weights)} to split into "
            f"{', '.join(weights)}"
        )
    total = sum(weights.values())
    share = {part: weight / total for part, weight in weights.items()}
    by_label: dict[str, list[str]] = defaultdict(list)
    for patient in sorted(labels):
        by_label[labels[patient]].append(patient)
    part_of: dict[str, str] = {}
    sizes: Counter[str] = Counter()
    for label, patients in sorted(by_label.items()):
        random.Random(f"{seed} {label}").shuffle(patients)
        counts: Counter[str] = Counter()
        for n, patient in enumerate(patients, start=1):
            # To the part that lacks most of its shares of this label and of all patients.
            lacks = {
                part: round(fraction * (n + len(part_of) + 1) - counts[part] - sizes[part], 9)
                for part, fraction in share.items()
            }
            part = max(lacks, key=lacks.__getitem__)
            part_of[patient] = part
            counts[part] += 1
            sizes[part] += 1
    for empty in (part for part in weights if not sizes[part]):
        largest = max(sizes, key=sizes.__getitem__)
        moved = next(patient for patient in reversed(part_of) if part_of[patient] == largest)
        part_of[moved] = empty
        sizes.update({empty: 1, largest: -1})
    return part_of


def split_records(
    records: Sequence[dict], weights: Mapping[str, float], seed: int
) -> dict[str, list[dict]]:
    """Split image-level dataset dicts by "patient" and "label"; see `split_patients`.

    A patient with slices of several labels counts by the most frequent one.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        counts[record["patient"]][str(record["label"])] += 1
    labels = {
        patient: min(found, key=lambda label: (-found[label], label))
        for patient, found in counts.items()
    }
    part_of = split_patients(labels, weights, seed)
    return {
        part: [record for record in records if part_of[record["patient"]] == part]
        for part in weights
    }


def split_coco(coco: dict, weights: Mapping[str, float], seed: int) -> dict[str, dict]:
    """Split a COCO dictionary of lesions; see `split_patients`.

    A patient's label is the set of the lesions' classes. A scan, or else an image, without a
    "patient" counts as a patient of its own. ValueError: an annotation of an image that is not
    there.
    """
    patient_of = {
        image["id"]: image.get("patient", image.get("scan", image["file_name"]))
        for image in coco["images"]
    }
    classes: dict[str, set[int]] = {patient: set() for patient in patient_of.values()}
    for item in coco["annotations"]:
        if item["image_id"] not in patient_of:
            raise ValueError(
                f"annotation {item.get('id')} is of image {item['image_id']}, which is not among "
                "the images: remove it or add the image"
            )
        classes[patient_of[item["image_id"]]].add(item["category_id"])
    labels = {patient: str(sorted(found)) for patient, found in classes.items()}
    part_of = split_patients(labels, weights, seed)
    parts = {}
    for part in weights:
        ids = {image for image, patient in patient_of.items() if part_of[patient] == part}
        images = [image for image in coco["images"] if image["id"] in ids]
        annotations = [item for item in coco["annotations"] if item["image_id"] in ids]
        parts[part] = {**coco, "images": images, "annotations": annotations}
    return parts


def split_file(
    path: Path,
    weights: Mapping[str, float],
    seed: int,
    output: Path,
    images: Path | None = None,
    metadata: Path | None = None,
    errors: ErrorPolicy = RAISE,
) -> str:
    """Split a data set's file by patients (see `split_patients`) and say what was written.

    `path` is an image list (.csv), a COCO file of lesions (.json) or a split list of COVIDx-CT
    (.txt); `images` and `metadata` of the latter are as for `read_covidx_list`. The parts go to
    `output`, as <stem>_<part>.csv or .json. `errors` is the policy for unusable lines and images.
    """
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".json", ".txt"):
        raise ValueError(f"{path}: expected an image list (.csv), lesions (.json) or a .txt list")
    ending = ".json" if suffix == ".json" else ".csv"
    files = {part: output / f"{path.stem}_{part}{ending}" for part in (*weights, *SPLITS)}
    lines: list[str] = []
    advice: list[str] = []
    if suffix == ".json":
        parts = split_coco(_read_coco(path, output), weights, seed)
        lines.append(write_parts(parts, output / path.name))
    else:
        if suffix == ".csv":
            records = usable_images(_read_rows(path, errors), errors)
            names = {label: label for label in sorted({record["label"] for record in records})}
        elif images is None or not images.is_dir():
            raise FileNotFoundError(f"{images or path}: need the folder of the images (--images)")
        else:
            records = usable_images(read_covidx_list(path, images, metadata, errors), errors)
            names = dict(enumerate(IMAGE_CLASSES))
        for part, mine in split_records(records, weights, seed).items():
            if suffix == ".csv":
                advice += _write_rows(mine, files[part])
            else:
                advice += write_image_list(mine, IMAGE_CLASSES, files[part])
            lines.append(f"{files[part]}: {describe_records(mine, names)}")
    lines += advice
    lines += [
        f"{file}: of an earlier split, may share patients with the parts above: remove it"
        for part, file in files.items()
        if part not in weights and file.exists()
    ]
    return "\n".join(lines)


def _read_coco(path: Path, output: Path) -> dict:
    """Read a COCO file, with "file_name" relative to the folder `output`."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    coco = read_coco_lesions(path).coco
    coco["images"] = located_images(path, coco)
    for image in coco["images"]:
        image["file_name"] = relative_path(Path(image["file_name"]), output)
    return coco


def _read_rows(path: Path, errors: ErrorPolicy) -> list[dict]:
    """Read an image list with all its columns; labels are not interpreted."""

    def parse(row: dict) -> dict:
        file, label, patient, _ = required_values(row)
        name = listed_path(file, path.parent)
        return {"file_name": name, "image_id": file, "label": label, "patient": patient, "row": row}

    return parse_lines(path, read_csv(path, "image list"), parse, errors)


def _write_rows(records: Sequence[dict], file: Path) -> list[str]:
    columns = [column for column in records[0]["row"] if column is not None]
    rows = [
        {**record["row"], "file": relative_path(Path(record["file_name"]), file.parent)}
        for record in records
    ]
    write_csv(file, columns, rows)
    return reading_advice(file, (row["file"] for row in rows))
