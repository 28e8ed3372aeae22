"""One pass over all image files: readable, size, constant, and what twins are recognised by."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import imagehash
import numpy as np
from PIL import Image
from tqdm import tqdm

from ..data.images import read_slice
from .findings import Finding
from .records import Slice, Split

HASH_SIDE = 16  # the perceptual hash has 16 x 16 bits
HASH_WORDS = HASH_SIDE**2 // 64
THUMBNAIL_SIDE = 32


class ImageFacts(NamedTuple):
    """What one image file is.

    Args:
        error: why it cannot be used; all else is then empty.
        size: height, width.
        constant: all pixels have one value; the rest is then empty.
        digest: of the decoded pixels and their size, whatever the format of the file.
        phash: (4,) uint64, the 256 bits of the perceptual hash.
        thumbnail: (1024,) uint8, 32 x 32 grey pixels.
    """

    error: Exception | None = None
    size: tuple[int, int] | None = None
    constant: bool = False
    digest: bytes = b""
    phash: np.ndarray = np.zeros(0, np.uint64)
    thumbnail: np.ndarray = np.zeros(0, np.uint8)


def image_facts(path: str) -> ImageFacts:
    """Read one image file; what is wrong with it is told, not raised."""
    try:
        pixels = read_slice(path)
    except (OSError, ValueError) as error:
        return ImageFacts(error=error)
    size = pixels.shape[0], pixels.shape[1]
    if (pixels == pixels[0, 0]).all():
        return ImageFacts(size=size, constant=True)
    digest = hashlib.blake2b(repr(size).encode() + pixels.tobytes(), digest_size=16).digest()
    # phash itself would shrink to this size; done here, the thumbnail comes cheaper.
    side = 4 * HASH_SIDE
    small = Image.fromarray(pixels).convert("L").resize((side, side), Image.Resampling.LANCZOS)
    bits = imagehash.phash(small, HASH_SIDE).hash
    thumbnail = np.asarray(small.reduce(side // THUMBNAIL_SIDE)).ravel()
    return ImageFacts(None, size, False, digest, np.packbits(bits).view(np.uint64), thumbnail)


def scan_images(paths: Iterable[str]) -> dict[str, ImageFacts]:
    """Read each image file once.

    Args:
        paths: image files, in any number of repetitions.

    Returns:
        path -> its facts.
    """
    files = list(dict.fromkeys(paths))
    # Threads, as Pillow decodes and resizes outside Python's lock; processes were no faster and,
    # where they are not forked, each would import PyTorch.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(image_facts, files)
        progress = tqdm(found, "images", len(files), unit="image", disable=None)
        return dict(zip(files, progress, strict=True))


def image_findings(split: Split, facts: Mapping[str, ImageFacts]) -> list[Finding]:
    """Damaged, constant and odd-sized images of a split, its twins, and misplaced body boxes."""
    findings: list[Finding] = []
    for item in split.slices:
        findings += _slice_findings(item, facts[item.path])
    return findings + _odd_sizes(split, facts) + _twins(split.slices, facts)


def size_counts(split: Split, facts: Mapping[str, ImageFacts]) -> Counter[tuple[int, int]]:
    """(height, width) -> number of the split's slices, as far as they are readable."""
    return Counter(size for item in split.slices if (size := facts[item.path].size))


def _slice_findings(item: Slice, facts: ImageFacts) -> list[Finding]:
    def finding(kind: str, text: str) -> Finding:
        return Finding(kind, (item.split,), text, (item.path,))

    if facts.error is not None:
        if isinstance(facts.error, FileNotFoundError):
            return [finding("missing_image", f"{facts.error}; restore it or correct its list")]
        return [finding("unreadable_image", str(facts.error))]
    assert facts.size is not None
    height, width = facts.size
    findings = []
    if facts.constant:
        findings.append(
            finding("constant_image", f"{item.path}: all pixels are the same; leave it out")
        )
    if item.size and item.size != facts.size:
        expected = f"its list or mask says {item.size[1]} x {item.size[0]}"
        text = f"{item.path}: {width} x {height} pixels, {expected}; replace one"
        findings.append(finding("size_mismatch", text))
    if item.body_box and (item.body_box[2] > width or item.body_box[3] > height):
        box = " ".join(map(str, item.body_box))
        text = f"{item.path}: box {box} in an image of {width} x {height} pixels"
        findings.append(finding("box_outside", text))
    return findings


def _odd_sizes(split: Split, facts: Mapping[str, ImageFacts]) -> list[Finding]:
    """One finding for each size but the usual one, or one in all where no size is usual."""
    sizes = size_counts(split, facts).most_common()
    if len(sizes) < 2:
        return []
    ((height, width), most), *others = sizes
    if most <= sum(count for _, count in others):
        text = f"{split.name}: {len(sizes):,} sizes, none usual; models resize them, no error"
        return [Finding("odd_size", (split.name,), text)]
    examples = {facts[item.path].size: item.path for item in reversed(split.slices)}
    return [
        Finding(
            "odd_size",
            (split.name,),
            f"{examples[size]}: {size[1]} x {size[0]} instead of {width} x {height} pixels, as "
            f"{count:,} of {split.name}",
            (examples[size],),
        )
        for size, count in others
    ]


def _twins(slices: Sequence[Slice], facts: Mapping[str, ImageFacts]) -> list[Finding]:
    """Images whose pixels another image of the same split has."""
    first: dict[bytes, Slice] = {}
    findings = []
    for item in slices:
        digest = facts[item.path].digest
        if not digest:
            continue
        twin = first.setdefault(digest, item)
        if twin is not item:
            text = f"{item.path}: same pixels as {twin.path}; leave one out"
            findings.append(Finding("duplicate_image", (item.split,), text, (twin.path, item.path)))
    return findings
