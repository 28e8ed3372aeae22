"""Reading slices and value masks from image files, refusing what would be silently misread.

Pillow and Detectron2's `read_image` turn 16-bit and colour-mapped files into 8 bits without a
word, so the header of every file is checked first. Files may have any format that Pillow reads.
"""

import errno
import os
import re
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps

from ..limits import SLICE, check_limit, limits_are_raised
from .channels import CHANNELS_TEXT, GREY, require_channels
from .classes import WINDOW_LEVEL, WINDOW_WIDTH

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

_MODES = {
    "1": "a 1-bit image",
    "P": "a colour-mapped (palette) image",
    "PA": "a colour-mapped (palette) image",
    "LA": "an image with a translucent alpha channel",
    "RGBA": "an image with a translucent alpha channel",
    "CMYK": "a CMYK image",
    "I": "an image of 32-bit integers",
    "F": "a floating-point image",
}
_TO_8_BIT = (
    f"apply a CT window (width {WINDOW_WIDTH}, level {WINDOW_LEVEL} HU) and save 8-bit grey PNG"
)
_T = TypeVar("_T")


def check_slice(path: str | os.PathLike, channels: str | None = None) -> tuple[int, int]:
    """Check by its header, and its alpha channel, that a file is one 8-bit grey or RGB image.

    `channels` are those that it must have (see `channels.py`); None leaves that open. Returns
    (height, width) in pixels of what `read_slice` will return. FileNotFoundError: no such file.
    ValueError: not an image, or another kind of image; the message says what to do.
    """
    with _open(path) as image:
        _check_mode(path, image, "8-bit grey or RGB")
        if channels is not None:
            require_channels(path, image.info.get(CHANNELS_TEXT, GREY), channels)
        width, height = image.size
        # Without "exif" in info, getexif() would decode a PNG in vain.
        exif = _decoded(path, image.getexif) if "exif" in image.info else {}
    # 5 to 8: by 90 degrees. What is none of them, as bytes, turns nothing.
    turned = exif.get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)


def read_slice(path: str | os.PathLike) -> np.ndarray:
    """Read an 8-bit grey or RGB image, upright by its EXIF orientation as in Detectron2.

    An alpha channel that is opaque everywhere is left out.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as for `check_slice`, or the file is truncated or damaged.
    """
    with _open(path) as image:
        _check_mode(path, image, "8-bit grey or RGB")
        return _decoded(path, lambda: np.array(ImageOps.exif_transpose(image).convert("RGB")))


def read_mask(path: str | os.PathLike) -> np.ndarray:
    """Read a value mask: 8-bit grey, or RGB with three equal channels.

    Returns:
        (H, W) uint8, class numbers.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another kind of image, a JPEG, or a damaged file.
    """
    expected = "an 8-bit grey mask whose values are class numbers"
    with _open(path) as image:
        if image.format == "JPEG":
            raise ValueError(f"{path}: found a JPEG, which blurs values; expected {expected} (PNG)")
        _check_mode(path, image, expected, advice="save the class numbers as 8-bit grey PNG")
        values = _decoded(path, lambda: np.array(image.convert(image.mode.removesuffix("A"))))
    if values.ndim == 2:
        return values
    if (values != values[..., :1]).any():
        raise ValueError(
            f"{path}: found a coloured mask, expected {expected}: "
            "replace each colour by its class number"
        )
    return np.ascontiguousarray(values[..., 0])


def require_files(
    paths: Iterable[str], listed_in: str | os.PathLike, root: str | os.PathLike = ""
) -> None:
    """Raise a FileNotFoundError that names the first missing file and counts all of them.

    `root` is the folder that names in the list are relative to, "" for the list's own.
    """
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        slashes = "; write / instead of the backslashes of Windows" if "\\" in missing[0] else ""
        raise FileNotFoundError(
            f"{missing[0]}: no such file; {len(missing)} of the files listed in {listed_in} are "
            f"missing (names in it are relative to {root or 'its own folder'}){slashes}"
        )


def _open(path: str | os.PathLike) -> Image.Image:
    if not os.path.isdir(path):
        require_readable(path)
    if limits_are_raised():
        Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit
    image = _decoded(path, lambda: Image.open(path))
    check_limit(path, image.width * image.height, SLICE)
    return image


def require_readable(path: str | os.PathLike) -> None:
    """Check that a file can be opened, whatever it holds.

    FileNotFoundError: no such file. ValueError: it cannot be opened, e.g. for want of permission.
    """
    try:
        if not (os.path.isfile(path) or os.path.isdir(path)) and os.path.exists(path):
            raise OSError(errno.EINVAL, "a pipe or a device, no regular file")
        with open(path, "rb"):
            return
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        raise cannot_open(path, error) from None


def cannot_open(path: str | os.PathLike, error: Exception) -> ValueError:
    """Turn the system's error for a path that it cannot open into one with advice."""
    reason = (getattr(error, "strerror", None) or str(error)).lower()
    advice = "copy it again or remove it"
    if isinstance(error, PermissionError):
        advice = "allow reading it and opening its folders (chmod), or remove it"
    return ValueError(f"{path}: cannot be opened ({reason}): {advice}")


def _decoded(path: str | os.PathLike, decode: Callable[[], _T]) -> _T:
    try:
        return decode()
    except Exception as error:  # a damaged file may raise OSError, SyntaxError, struct.error, ...
        reason = str(error).split(str(path))[0].strip(" '\"") or type(error).__name__
        raise ValueError(
            f"{path}: cannot be read as an image ({what_else_it_is(path) or reason}): damaged or "
            "not an image; replace the file"
        ) from None


def what_else_it_is(path: str | os.PathLike) -> str:
    """Say that a file is empty, an HTML page or a Git LFS pointer; "" when it is none of them."""
    try:
        with open(path, "rb") as stream:
            start = stream.read(200).lstrip().lower()
    except (OSError, ValueError):  # a folder, say
        return ""
    if start.startswith((b"<!doctype html", b"<html")):
        return f"an HTML page of {os.path.getsize(path)} bytes, as of a failed download"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, whose content git lfs pull fetches"
    return "" if start else f"empty, {os.path.getsize(path)} bytes"


def _is_opaque(path: str | os.PathLike, image: Image.Image) -> bool:
    """Whether an alpha channel is full everywhere, so that leaving it out loses nothing."""
    return _decoded(path, lambda: image.getchannel("A").getextrema()) == (255, 255)


def _check_mode(
    path: str | os.PathLike, image: Image.Image, expected: str, advice: str = ""
) -> None:
    # Pillow opens 16-bit RGB as mode RGB and 2-bit grey as mode L; the raw mode tells ("RGB;16B").
    tiles = getattr(image, "tile", None)
    raw = f"{image.mode} {tiles[0].args}" if tiles else image.mode
    bits = re.search(r";(\d+)", raw)
    frames = _decoded(path, lambda: getattr(image, "n_frames", 1))
    if image.mode in ("LA", "RGBA") and not bits and frames == 1 and _is_opaque(path, image):
        return
    if image.mode in _MODES:
        found = _MODES[image.mode]
    elif bits and bits[1] != "8":
        found = f"a {bits[1]}-bit image"
    elif image.mode not in ("L", "RGB"):
        found = f"an image of mode {image.mode}"
    elif frames > 1:
        found, advice = f"a stack of {frames} images", "save each slice as a file of its own"
    else:
        return
    if not advice:
        deep = found in (_MODES["I"], _MODES["F"], "a 16-bit image")
        advice = _TO_8_BIT if deep else "convert it to 8-bit grey"
    raise ValueError(f"{path}: found {found}, expected {expected}: {advice}")
