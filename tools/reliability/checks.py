"""Which files of a run are not whole, and what differs between two runs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image


def faults(folder: Path) -> Iterator[str]:
    """Yield the files of a folder that are not whole; hidden ones are not done yet."""
    for path in folder.rglob("*"):
        if path.is_dir() or any(x.startswith(".") for x in path.relative_to(folder).parts):
            continue
        try:
            _read(path)
        except Exception as error:  # whatever a reader says of half a file
            yield f"{path}: {type(error).__name__}: {error}"


def _read(path: Path) -> None:
    if path.suffix == ".pth":
        torch.load(path, map_location="cpu", weights_only=True)
    elif path.suffix == ".json":
        text = path.read_text()
        for part in text.splitlines() if path.name == "metrics.json" else [text]:
            json.loads(part, parse_constant=lambda name: float(f"no number: {name}"))
    elif path.suffix == ".yaml":
        yaml.safe_load(path.read_text())["MODEL"]
    elif path.suffix == ".png":
        Image.open(path).load()
    elif path.suffix == ".npz":
        np.load(path)["rows"]
    elif path.suffix in (".csv", ".html"):
        text = path.read_text()
        assert text.endswith("\n") if path.suffix == ".csv" else "</html>" in text[-20:], "half"


def differences(one: Path, other: Path) -> Iterator[str]:
    """Yield what differs between the results of two trainings."""
    for name in ("model_final.pth", "model_best.pth"):
        a, b = (torch.load(x / name, map_location="cpu", weights_only=True) for x in (one, other))
        for key in ("model", "trainer"):
            if not _same(a[key], b[key]):
                yield f"{one / name}: another {key}"
    a, b = (json.loads((x / "results.json").read_text())["metrics"] for x in (one, other))
    if a != b:
        yield f"{one}: other metrics"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
