"""Predict image files and write an overlay and a JSON for each."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from ..data.classes import NOTICE
from ..data.images import IMAGE_SUFFIXES, read_slice
from ..data.window import say_windowed_once
from ..whole_files import whole_file
from .overlay import draw_instances
from .predictor import Predictor


def find_slices(inputs: Sequence[str | Path]) -> list[Path]:
    """List image files; a folder stands for the images in it and its subfolders.

    Args:
        inputs: files and folders.

    Returns:
        The files, in the order given.

    Raises:
        FileNotFoundError: a file is missing, or a folder holds no image.
    """
    files: list[Path] = []
    for path in map(Path, inputs):
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
            if not found:
                raise FileNotFoundError(
                    f"{path}: no image in this folder (expected {', '.join(IMAGE_SUFFIXES)})"
                )
            files.extend(found)
        elif not path.exists():
            raise FileNotFoundError(f"{path}: no such file")
        else:
            files.append(path)
    return files


def predict_files(
    predictor: Predictor, files: Sequence[Path], output: Path, min_score: float = 0.5
) -> list[str]:
    """Write <name>.json and <name>_overlay.png for each image.

    A file that cannot be used does not stop the others; nothing is written for it.

    Args:
        predictor: the model.
        files: image files; those of equal name get their folder's name in front.
        output: folder, made if needed.
        min_score: lesions with a lower score are neither drawn nor listed.

    Returns:
        One line for each file that could not be used.
    """
    problems = []
    names = _output_names(files)
    say_windowed_once()
    for path, name in tqdm(
        list(zip(files, names, strict=True)), desc="predict", unit="slice", mininterval=1
    ):
        try:
            image = read_slice(path)
        except (FileNotFoundError, ValueError) as error:
            problems.append(str(error))
            continue
        prediction = predictor(image)
        result = {"file": str(path), "size": list(image.shape[:2]), "notice": NOTICE}
        result |= predictor.describe(prediction, min_score)
        output.mkdir(parents=True, exist_ok=True)
        _write_image(output / f"{name}_overlay.png", _overlay(image, prediction, result, min_score))
        _write(output / f"{name}.json", json.dumps(result, indent=2) + "\n")
    return problems


def _output_names(files: Sequence[Path]) -> list[str]:
    stems = Counter(path.stem for path in files)
    names = [p.stem if stems[p.stem] == 1 else f"{p.resolve().parent.name}_{p.name}" for p in files]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{twice[0]}: two inputs would write results of this name; rename one")
    return names


def _overlay(
    image: np.ndarray, prediction: dict[str, Any], result: dict[str, Any], min_score: float
) -> np.ndarray:
    instances = prediction["instances"].to("cpu")
    instances = instances[instances.scores >= min_score]
    labels = [f"{lesion['class']} {lesion['score']:.2f}" for lesion in result["lesions"]]
    canvas = draw_instances(image, instances, labels)
    count = len(result["lesions"])
    title = f"{count} lesion{'' if count == 1 else 's'}"
    if "image_class" in result:
        name = result["image_class"]
        title += f", {name} {result['image_probs'][name]:.0%}"
    strip = np.zeros((34, canvas.shape[1], 3), np.uint8)
    for text, y in ((title, 13), (NOTICE, 28)):
        cv2.putText(
            strip, text, (4, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA
        )
    return np.vstack([strip, canvas])


def _write_image(path: Path, image: np.ndarray) -> None:
    encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
    _write(path, encoded.tobytes())


def _write(path: Path, content: str | bytes) -> None:
    with whole_file(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
