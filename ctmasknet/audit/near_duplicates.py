"""Identical and nearly identical images in two splits, whatever their names."""

from collections.abc import Mapping, Sequence

import numpy as np
from tqdm import tqdm

from .findings import Finding
from .images import ImageFacts
from .records import Slice, Split

# Two hashes of 256 bits and two thumbnails (tools/measure_near_duplicates.py, docs/audit.md):
#   a slice saved again (JPEG 30 to 95, WebP) or resized (224 to 700):  0 to 10 bits, r > 0.998
#   a neighbour 6 mm apart in the same scan:                            8 to 62 bits, r < 0.996
#   different patients, CNCB and COVID-CT-MD (8,744 pairs):           >= 60 bits, r < 0.89
#   different patients, phantoms (44,700 pairs):                      >= 42 bits, r < 0.94
NEAR_BITS = 16
NEAR_CORRELATION = 0.98

_MAX_CANDIDATES = 256  # of one image whose thumbnails are compared, nearest hashes first


def shared_images(
    splits: Sequence[Split], facts: Mapping[str, ImageFacts], max_bits: int = NEAR_BITS
) -> list[Finding]:
    """Find images of one split that an earlier split has as well; `facts` are of all images.

    Each image gives at most one finding for each earlier split: with an identical image if there is
    one, else with the one that looks most like it. Constant images are left out, as they look alike
    in any data, and files that both splits list (`groups.shared_files` finds those).
    """
    usable = {
        split.name: [item for item in split.slices if facts[item.path].digest] for split in splits
    }
    findings = []
    for index, split in enumerate(splits):
        for earlier in splits[:index]:
            first = usable[earlier.name]
            listed = {item.path for item in first}
            known = {facts[item.path].digest: item for item in reversed(first)}
            rest = []
            for item in usable[split.name]:
                twin = known.get(facts[item.path].digest)
                if item.path in listed:
                    continue
                if twin is None:
                    rest.append(item)
                else:
                    findings.append(_finding("identical_image", item, twin, "same pixels"))
            near = nearest_images(
                [facts[item.path] for item in first],
                [facts[item.path] for item in rest],
                max_bits,
                f"{split.name} in {earlier.name}",
            )
            for row, (column, bits, correlation) in near.items():
                how = f"differs in {bits} of 256 bits, correlation {correlation:.3f}"
                findings.append(_finding("near_image", rest[row], first[column], how))
    return findings


def nearest_images(
    first: Sequence[ImageFacts],
    second: Sequence[ImageFacts],
    max_bits: int = NEAR_BITS,
    title: str = "near duplicates",
) -> dict[int, tuple[int, int, float]]:
    """Find for each image of `second` the one in `first` that is nearly identical.

    Args:
        first, second: facts with hashes and thumbnails.
        max_bits: bits of 256 by which two hashes may differ.
        title: of the progress bar.

    Returns:
        index in `second` -> (index in `first`, bits, correlation) of the most correlated image
        within `max_bits`, if that reaches NEAR_CORRELATION.
    """
    if not first or not second:
        return {}
    # XOR and popcount, one row at a time: 1.3 billion pairs take 4 s and hardly any memory.
    words = np.ascontiguousarray(np.stack([facts.phash for facts in first]).T)
    found = {}
    for row, facts in enumerate(tqdm(second, title, unit="image", disable=None)):
        bits = np.zeros(len(first), np.uint16)
        for word, own in zip(words, facts.phash, strict=True):
            bits += np.bitwise_count(word ^ own)
        near = np.flatnonzero(bits <= max_bits)
        if not near.size:
            continue
        near = near[np.argsort(bits[near], kind="stable")[:_MAX_CANDIDATES]].tolist()
        thumbnails = np.stack([first[index].thumbnail for index in near])
        correlations = _correlate(thumbnails, facts.thumbnail)
        best = int(np.argmax(correlations))
        if correlations[best] >= NEAR_CORRELATION:
            found[row] = int(near[best]), int(bits[near[best]]), float(correlations[best])
    return found


def _correlate(images: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return Pearson's r of each row of (N, P) with (P,); 0 where an image is constant."""
    centred = images - images.mean(axis=1, dtype=np.float64, keepdims=True)
    other = image - image.mean(dtype=np.float64)
    norms = np.linalg.norm(centred, axis=1) * np.linalg.norm(other)
    return np.divide(centred @ other, norms, out=np.zeros(len(images)), where=norms > 0)


def _finding(kind: str, item: Slice, twin: Slice, how: str) -> Finding:
    text = f"{item.path} ({item.split}) and {twin.path} ({twin.split}): {how}"
    return Finding(kind, (twin.split, item.split), text, (item.path, twin.path))
