"""Files of ranked boxes, and the keys by which they are found again."""

import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import detectron2
import numpy as np
import PIL
import torch
import torchvision
from detectron2.config import CfgNode
from torch import nn

from ..atomic_write import atomic_write
from ..modeling import RankedBoxes
from ..provenance import sha256_of

_DIGEST = hashlib.sha256().digest_size
_IMAGE_HEAD = "image_head."
_OF_IMAGE = ("image_sizes", "global_features")  # one for each image, not for each box
# Keys of MODEL that boxes do not depend on, but for rounding. The precision is the model's own, as
# the config may say "auto".
_NOT_OF_ROWS = {"WEIGHTS", "NAME", "DEVICE", "FAST", "PRECISION", "IMAGE_HEAD", "TRAINABLE"}
_NOT_OF_ROWS |= {"TRAIN_SHORTCUT_NORMS"}
_LIBRARIES = (cv2, detectron2, np, PIL, torch, torchvision)
_PACKAGE = Path(__file__).parents[1]
# What makes boxes.
_SOURCES = ("data/**/*.py", "modeling/**/*.py", "fast/**/*.py", "engine/ranked_*.py")


def digest_of_sources(package: Path) -> str:
    """Return the SHA-256 of the code that makes ranked boxes; a commit would miss local changes."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _SOURCES for path in package.glob(pattern)):
        digest.update(f"{path.relative_to(package).as_posix()} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


_CODE = digest_of_sources(_PACKAGE)  # now: files may be edited while a run computes


def key_of_rows(cfg: CfgNode, model: nn.Module, files: Iterable[str], training: bool) -> str:
    """Return the SHA-256 of everything that ranked boxes depend on.

    The CTMaskNet holds its weights. `files` are the images in their order; their content counts,
    not their names. In `training` images are resized as there, else as in evaluation.
    """
    settings = {key: value for key, value in cfg.MODEL.items() if key not in _NOT_OF_ROWS}
    settings["GLOBAL_FEATURES"] = cfg.MODEL.IMAGE_HEAD.GLOBAL_FEATURES
    settings["RANKED_BOXES"] = {k: v for k, v in cfg.MODEL.RANKED_BOXES.items() if k != "FILL"}
    parts = {
        "code": _CODE,
        "versions": {library.__name__: library.__version__ for library in _LIBRARIES},
        "model": settings,
        "precision": str(model.precision),
        "input": cfg.INPUT,
        "training": training,
        "weights": _digest_of_detector(model),
        "images": [sha256_of(file) for file in files],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _digest_of_detector(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith(_IMAGE_HEAD):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def write_boxes(path: Path, key: str, images: Sequence[RankedBoxes]) -> None:
    """Write the different boxes of one image or more, whole or not at all.

    The file is an .npz with a checksum after its end, which NumPy ignores.
    """
    stream = io.BytesIO()
    tensors = [image.tensors() for image in images]
    arrays = {
        name: (np.stack if name in _OF_IMAGE else np.concatenate)(
            [x[name].numpy() for x in tensors]
        )
        for name in tensors[0]
    }
    counts = np.array([len(image.rows) for image in images], np.int64)
    np.savez(stream, key=np.array(key), counts=counts, **arrays)  # type: ignore[arg-type]
    content = stream.getvalue()
    with atomic_write(path) as partial:
        partial.write_bytes(content + hashlib.sha256(content).digest())


def read_boxes(path: Path, key: str) -> list[RankedBoxes]:
    """Read each image's boxes; a ValueError if the file is damaged or has another key."""
    content = path.read_bytes()
    content, checksum = content[:-_DIGEST], content[-_DIGEST:]
    if hashlib.sha256(content).digest() != checksum:
        raise ValueError("damaged or not a file of ranked boxes (its checksum is wrong)")
    found = np.load(io.BytesIO(content), allow_pickle=False)
    if found["key"] != key:
        raise ValueError("made with other weights, settings, code or images")
    counts = found["counts"].tolist()
    tensors = {name: torch.from_numpy(found[name]) for name in set(found) - {"key", "counts"}}
    split = {k: x if k in _OF_IMAGE else x.split(counts) for k, x in tensors.items()}
    return [RankedBoxes(**{k: x[i] for k, x in split.items()}) for i in range(len(counts))]
