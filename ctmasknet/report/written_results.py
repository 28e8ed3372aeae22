"""What `ctmasknet predict` has written of an input, read again with the input.

Shapes: Z slices of H x W pixels. Values of label maps: 0 is background, k the k-th lesion class.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.coco_entries import read_json
from ..data.window import Window
from ..errors import RAISE
from ..inference.inputs import Input
from ..volumes import sitk
from ..volumes.safe_reader import checked_reader
from ..volumes.sitk_headers import unpacked_nifti
from ..volumes.volume import Volume
from .case_files import LABELS, RESULT, names_apart


@dataclass(frozen=True)
class Result:
    """What `ctmasknet predict` has written of an input."""

    source: Input
    folder: Path
    window: Window  # that the models saw
    series: str | None  # that was taken of several
    patient: str | None
    searched: Sequence[int]  # slices with lung
    files: Sequence[str]  # names of slices that were taken one by one, and of their masks
    masks: Sequence[str]
    colours: dict[str, str]  # lesion class -> "#rrggbb", in the order of labels

    def read(self) -> Volume:
        """Read the scan again."""
        return self.source.read(self.window, self.series, RAISE)


def read_results(folder: Path, source: Input, reveal: Callable[[str], str] = str) -> Result:
    """Read the results of an input from their folder; `reveal` puts names for pseudonyms.

    Raises a FileNotFoundError if there are none, a ValueError if they are of another input or
    have no masks.
    """
    if not (folder / RESULT).is_file():
        raise FileNotFoundError(
            f"{folder / RESULT}: no results of {source.path}; predict it first, from the same path "
            "and with the same file of names"
        )
    content = read_json(folder / RESULT, "results")
    try:
        settings, slices = content["about"]["settings"], content["slices"]
        files = [x["file"] or "" for x in slices]
        series = settings.get("series")
        result = Result(
            source,
            folder,
            window=Window.parse(settings["window"]),
            series=series and reveal(series),
            patient=content["patient"],
            searched=[x["index"] for x in slices if x["searched"]],
            files=[Path(reveal(file)).name for file in files],
            masks=names_apart([Path(file).name for file in files]),
            colours=_read_labels(folder / LABELS),
        )
        was_scan = content["kind"] == "scan"
    except (AttributeError, KeyError, TypeError):
        raise ValueError(f"{folder / RESULT}: are no results of `ctmasknet predict`") from None
    if was_scan != source.is_scan:
        what = "a scan" if was_scan else "slices, one by one"
        raise ValueError(f"{folder}: are results of {what}; give --as-scan as to predict")
    if not was_scan and result.files != [path.name for path in source.files]:
        raise ValueError(
            f"{folder}: are results of other slices than {source.path} has now: predict it again"
        )
    return result


def _read_labels(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise ValueError(
            f"{path.parent}: found boxes without masks, expected lesions with masks: predict it "
            "again with --lesion-model"
        )
    with path.open(newline="", encoding="utf-8") as stream:
        return {row["class"]: row["colour"] for row in csv.DictReader(stream)}


def check_classes(results: Sequence[Result]) -> dict[str, str]:
    """Return the lesion classes of all results, with colours; a ValueError if they differ."""
    colours = results[0].colours
    if other := next((x for x in results if x.colours != colours), None):
        raise ValueError(
            f"{other.folder}: has the classes {', '.join(other.colours)}, expected "
            f"{', '.join(colours)} as {results[0].folder}: export them into folders of their own"
        )
    return colours


def read_label_volume(path: Path, volume: Volume) -> np.ndarray:
    """Read the label map (Z, H, W) that `predict` wrote; a ValueError if it is of another scan."""
    with unpacked_nifti(path) as plain:
        image = checked_reader(plain, path)[0].Execute()
    labels = sitk.GetArrayFromImage(image)
    away = np.abs(np.subtract(image.GetOrigin(), volume.origin)).max()
    if labels.shape != volume.hu.shape or away > volume.spacing[2] / 2:
        raise ValueError(
            f"{path}: found {labels.shape} voxels (z, y, x), which do not lie as the "
            f"{volume.hu.shape} of {volume.source}: the results are of another scan: predict it"
        )
    return labels
