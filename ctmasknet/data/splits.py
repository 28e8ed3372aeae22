"""Splits of data sets by patient, stratified by label."""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence


def split_patients(
    labels: Mapping[str, str], weights: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Distribute patients over parts, each label in the same proportions.

    `labels` maps patients to labels, `weights` parts to shares; (0.7, 0.1, 0.2) and (7, 1, 2) are
    the same. Returns patient -> part, the same on any machine for one seed. Of each label, and of
    all, a part has its share to within two patients; every part has at least one. ValueError: a
    weight that is not positive, a part whose name no file can have, fewer than two parts, or fewer
    patients than parts.
    """
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

    A patient's label is the set of the lesions' classes. An image without a "patient" counts as a
    patient of its own. ValueError: an annotation of an image that is not there.
    """
    patient_of = {image["id"]: image.get("patient", image["file_name"]) for image in coco["images"]}
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
