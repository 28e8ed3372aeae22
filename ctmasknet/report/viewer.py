"""A scan as compressed pictures and outlines, which the report's script shows slice by slice.

Shapes: Z slices of H x W pixels. A code is what a picture holds of a pixel: 0 to 255, each for a
range of HU, finest where soft tissue is told apart.
"""

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..data.window import WINDOWS, Window
from ..figures import lesion_colour
from ..inference.predictions import Instance, SlicePrediction
from ..quantification.case import Case
from ..volumes.volume import Volume

_SCRIPT = Path(__file__).with_name("viewer.js")
_PRESETS = ("lung", "mediastinum", "bone")
# HU and their codes, straight lines between: 8.6 HU a code in the lung, 3.5 in soft tissue, 31.5 in
# bone. docs/prediction.md has what it costs and loses beside others.
_HU, _CODES = (-1024, -160, 240, 1500), (0, 100, 215, 255)
_QUALITIES = (85, 70, 50)  # of JPEG: the first at which the pictures are small enough
_MOST_BYTES = 17_000_000  # of all pictures, a third more as text: 300 noisy slices stay below 25 MB


@dataclass(frozen=True)
class Viewer:
    """What a page needs to show a scan."""

    data: str  # JSON, which may stand in a <script> element
    script: str  # JavaScript
    presets: Sequence[str]  # names of the windows


def make_viewer(case: Case) -> Viewer | None:
    """Compress the slices of a scan; None for loose slices."""
    volume = case.volume
    if volume is None:
        return None
    windows = _windows(volume)
    hu: Sequence[int] = _HU
    codes: Sequence[int] = _CODES
    if volume.windowed:  # as grey as it was given
        hu, codes = (round(volume.windowed.low), round(volume.windowed.high)), (0, 255)
    height, width = volume.hu.shape[1:]
    classes = case.slices[0].lesion_classes
    data = {
        "width": width,
        "height": height,
        "hu": np.interp(range(256), codes, hu).round(1).tolist(),
        "windows": [[name, w.width, w.level] for name, w in windows.items()],
        "step": volume.spacing[0] if volume.measured else None,
        "classes": [[name, lesion_colour(index)] for index, name in enumerate(classes)],
        "start": _most_lesion(case),
        "slices": [
            {"picture": base64.b64encode(picture).decode(), **_describe(prediction)}
            for picture, prediction in zip(
                _compress(volume.hu, hu, codes), case.slices, strict=True
            )
        ],
    }
    # "<" could end the element that holds it.
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    return Viewer(text, _SCRIPT.read_text(encoding="utf-8"), list(windows))


def content_policy(viewer: Viewer | None) -> str:
    """Return a page's Content-Security-Policy: it loads nothing, and runs this script alone."""
    script = "'none'"
    if viewer:
        digest = hashlib.sha256(viewer.script.encode()).digest()
        script = f"'sha256-{base64.b64encode(digest).decode()}'"
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
        f"form-action 'none'; script-src {script}"
    )


def _windows(volume: Volume) -> dict[str, Window]:
    if volume.windowed is None:
        return {name: WINDOWS[name] for name in _PRESETS}
    named = next((name for name, w in WINDOWS.items() if w == volume.windowed), "as given")
    return {named: volume.windowed}


def _most_lesion(case: Case) -> int:
    found = case.quantities
    by_slice = (found.instances if found.areas_px is None else found.areas_px)[:, -1]
    return int(by_slice.argmax()) if by_slice.any() else len(case.slices) // 2


def _compress(volume: np.ndarray, hu: Sequence[int], codes: Sequence[int]) -> list[bytes]:
    """Return (Z, H, W) HU as a grey JPEG for each slice."""
    table = np.interp(range(hu[0], hu[-1] + 1), hu, codes).round().astype(np.uint8)
    pictures: list[bytes] = []
    for quality in _QUALITIES:
        pictures = []
        for one in volume:
            whole = one.clip(hu[0], hu[-1]).round().astype(np.int32) - hu[0]
            stream = io.BytesIO()
            Image.fromarray(table[whole]).save(stream, "jpeg", quality=quality)
            pictures.append(stream.getvalue())
        if sum(map(len, pictures)) <= _MOST_BYTES:
            break
    return pictures


def _describe(prediction: SlicePrediction) -> dict[str, Any]:
    lesions = [_lesion(prediction, x) for x in prediction.instances]
    return {"lesions": lesions} if prediction.searched else {"lesions": [], "searched": False}


def _lesion(prediction: SlicePrediction, found: Instance) -> dict[str, Any]:
    counts = found.rle["counts"] if found.rle else None
    return {
        "class": prediction.lesion_classes.index(found.lesion_class),
        "score": round(float(found.score), 2),
        "box": [round(float(x), 1) for x in found.box],
        "mask": counts.decode() if isinstance(counts, bytes) else counts,
    }
