"""One pass over all image files: readability, size, and hashes to recognise duplicates by."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..data.images import read_slice
from .findings import Finding
from .records import Slice, Split

HASH_SIDE = 16  # the perceptual hash has 16 x 16 bits
THUMBNAIL_SIDE = 32


class ImageFacts(NamedTuple):
    """What one reading of an image file tells; after an error or a constant image, no more."""

    error: Exception | None = None
    size: tuple[int, int] | None = None  # height, width
    constant: bool = False  # all pixels have one value
    digest: bytes = b""  # of the decoded pixels and their size, whatever the file's format
    phash: np.ndarray = np.zeros(0, np.uint64)  # (4,), the 256 bits of the perceptual hash
    thumbnail: np.ndarray = np.zeros(0, np.uint8)  # (1024,), 32 x 32 grey pixels


def image_facts(path: str) -> ImageFacts:
    """Read one image file; an error is returned, not raised."""
    import imagehash

    try:
        pixels = read_slice(path)
    except (OSError, ValueError) as error:
        return ImageFacts(error=error)
    size = pixels.shape[0], pixels.shape[1]
    if (pixels == pixels[0, 0]).all():
        return ImageFacts(size=size, constant=True)
    digest = hashlib.blake2b(repr(size).encode() + pixels.tobytes(), digest_size=16).digest()
    # phash shrinks an image to this size; from here, the thumbnail is cheap.
    side = 4 * HASH_SIDE
    small = Image.fromarray(pixels).convert("L").resize((side, side), Image.Resampling.LANCZOS)
    bits = imagehash.phash(small, HASH_SIDE).hash
    thumbnail = np.asarray(small.reduce(side // THUMBNAIL_SIDE)).ravel()
    return ImageFacts(None, size, False, digest, np.packbits(bits).view(np.uint64), thumbnail)


def scan_images(paths: Iterable[str]) -> dict[str, ImageFacts]:
    """Read each image file once, however often it occurs: path -> its facts."""
    files = list(dict.fromkeys(paths))
    # Pillow decodes and resizes outside Python's lock; processes were no faster.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(image_facts, files)
        progress = tqdm(found, "images", len(files), unit="image", disable=None)
        return dict(zip(files, progress, strict=True))


def image_findings(split: Split, facts: Mapping[str, ImageFacts]) -> list[Finding]:
    """Find damaged, constant, odd-sized and duplicate images of a split, and misplaced boxes."""
    findings = [
        Finding(kind, (split.name,), text, (item.path,))
        for item in split.slices
        for kind, text in _problems(item, facts[item.path])
    ]
    return findings + _odd_sizes(split, facts) + _duplicates(split, facts)


def size_counts(split: Split, facts: Mapping[str, ImageFacts]) -> Counter[tuple[int, int]]:
    """Count a split's readable slices by (height, width)."""
    return Counter(size for item in split.slices if (size := facts[item.path].size))


def _problems(item: Slice, facts: ImageFacts) -> Iterator[tuple[str, str]]:
    """Yield kind and message of each problem of one image."""
    if isinstance(facts.error, FileNotFoundError):
        yield "missing_image", f"{facts.error}; restore it or correct its list"
    elif facts.error is not None:
        yield "unreadable_image", str(facts.error)
    if facts.size is None:
        return
    height, width = facts.size
    found = f"{width} x {height} pixels"
    if facts.constant:
        yield "constant_image", f"{item.path}: all pixels are the same; leave it out"
    if item.size and item.size != facts.size:
        expected = f"its list or mask says {item.size[1]} x {item.size[0]}"
        yield "size_mismatch", f"{item.path}: {found}, {expected}; replace one"
    if item.body_box and (item.body_box[2] > width or item.body_box[3] > height):
        box = " ".join(map(str, item.body_box))
        yield "box_outside", f"{item.path}: box {box} in an image of {found}"


def _odd_sizes(split: Split, facts: Mapping[str, ImageFacts]) -> list[Finding]:
    """Return one finding for each unusual size, or a single one where no size is usual."""
    sizes = size_counts(split, facts).most_common()
    if len(sizes) < 2:
        return []
    ((height, width), most), *others = sizes
    if most <= sum(count for _, count in others):
        text = f"{split.name}: {len(sizes):,} sizes, none usual; models resize them, no error"
        return [Finding("odd_size", (split.name,), text)]
    examples = {facts[item.path].size: item.path for item in reversed(split.slices)}
    findings = []
    for size, count in others:
        text = f"{examples[size]}: {size[1]} x {size[0]} instead of {width} x {height} pixels, as "
        text += f"{count:,} of {split.name}"
        findings.append(Finding("odd_size", (split.name,), text, (examples[size],)))
    return findings


def _duplicates(split: Split, facts: Mapping[str, ImageFacts]) -> list[Finding]:
    """Find images with the same pixels as an earlier one of the same split."""
    first: dict[bytes, Slice] = {}
    findings = []
    for item in split.slices:
        digest = facts[item.path].digest
        twin = first.setdefault(digest, item)
        if digest and twin is not item:
            text = f"{item.path}: same pixels as {twin.path}; leave one out"
            findings.append(Finding("duplicate_image", (split.name,), text, (twin.path, item.path)))
    return findings
