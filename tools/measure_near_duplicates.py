#!/usr/bin/env python
"""Measure how similar slices look to the audit: saved again, changed, or of different patients.

    tools/measure_near_duplicates.py FOLDER... [--patients]

Each image in the folders is saved again in many ways and compared with itself. With --patients
each subfolder (or the part of a flat name before its first "_") is a patient, and each image is
compared with the same patient's next one and with those of all others, which should not be found.
"""

import io
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tabulate import tabulate
from tqdm import tqdm

from ctmasknet.audit.images import ImageFacts, image_facts
from ctmasknet.audit.near_duplicates import NEAR_BITS, NEAR_CORRELATION
from ctmasknet.command_line import new_parser, run_script
from ctmasknet.data.images import IMAGE_SUFFIXES, read_slice


def encoded(form: str, quality: int) -> Callable[[Image.Image], Image.Image]:
    def change(image: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        image.save(stream, form, quality=quality)
        return Image.open(stream)

    return change


def resized(width: int, height: int, how: Image.Resampling = Image.Resampling.BILINEAR) -> Callable:
    return lambda image: image.resize((width, height), how)


def cropped(share: float) -> Callable:
    return lambda image: ImageOps.crop(image, round(share * min(image.size)))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    **{f"JPEG {quality}": encoded("JPEG", quality) for quality in (30, 50, 75, 95)},
    "WebP 50": encoded("WEBP", 50),
    "224 x 224": resized(224, 224),
    "384 x 384": resized(384, 384),
    "700 x 600": resized(700, 600),
    "256 x 256, nearest neighbour": resized(256, 256, Image.Resampling.NEAREST),
    "256 x 256 and JPEG 30": lambda image: encoded("JPEG", 30)(resized(256, 256)(image)),
    "gamma 0.8": lambda image: image.point(lambda value: round(255 * (value / 255) ** 0.8)),
    "brighter (x 1.15 + 10)": lambda image: image.point(lambda value: min(value * 1.15 + 10, 255)),
    "cropped by 2 % at each side": cropped(0.02),
    "mirrored": ImageOps.mirror,
}


def compare(first: ImageFacts, second: ImageFacts) -> tuple[int, float]:
    """Different bits of the hashes, correlation of the thumbnails."""
    bits = int(np.bitwise_count(first.phash ^ second.phash).sum())
    return bits, float(np.corrcoef(first.thumbnail, second.thumbnail)[0, 1])


def facts_of(image: Image.Image, folder: Path) -> ImageFacts:
    path = folder / "changed.bmp"
    image.convert("L").save(path)
    return image_facts(str(path))


def row(name: str, pairs: list[tuple[int, float]]) -> list:
    if not pairs:
        return [name, 0, "-", "-", "-"]
    bits, correlations = (np.array(values) for values in zip(*pairs, strict=True))
    found = (bits <= NEAR_BITS) & (correlations >= NEAR_CORRELATION)
    spread = f"{bits.min()} to {bits.max()}"
    extremes = f"{correlations.min():.4f} to {correlations.max():.4f}"
    return [name, len(pairs), spread, extremes, f"{found.mean():.1%}"]


def measure(files: list[Path], patients: list[str] | None) -> list[list]:
    facts = {path: image_facts(str(path)) for path in tqdm(files, "images", disable=None)}
    files = [path for path in files if facts[path].digest]
    rows = []
    with tempfile.TemporaryDirectory(prefix="ctmasknet-") as folder:
        for name, change in tqdm(CHANGES.items(), "changes", disable=None):
            changed = (change(Image.fromarray(read_slice(path)).convert("L")) for path in files)
            pairs = [
                compare(facts[path], facts_of(image, Path(folder)))
                for path, image in zip(files, changed, strict=True)
            ]
            rows.append(row(name, pairs))
    if patients:
        known = dict(zip(facts, patients, strict=True))
        couples = itertools.pairwise(files)
        following = [couple for couple in couples if known[couple[0]] == known[couple[1]]]
        strangers = [
            couple
            for couple in itertools.combinations(files, 2)
            if known[couple[0]] != known[couple[1]]
        ]
        for name, chosen in (("next of the same", following), ("different", strangers)):
            pairs = [compare(facts[one], facts[other]) for one, other in chosen]
            rows.append(row(f"{name} patient", pairs))
    return rows


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--patients", action="store_true", help="compare different patients, too")
    args = parser.parse_args()
    files = [
        path
        for folder in args.folders
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not files:
        raise ValueError(f"{args.folders[0]}: found no images")
    nested = [path.parent not in args.folders for path in files]
    names = [
        str(path.parent) if inner else path.stem.partition("_")[0]
        for path, inner in zip(files, nested, strict=True)
    ]
    rows = measure(files, names if args.patients else None)
    print(
        tabulate(rows, ["", "pairs", "bits of 256", "correlation", "found"], disable_numparse=True)
    )


if __name__ == "__main__":
    run_script(main)
