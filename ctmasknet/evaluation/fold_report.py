"""Numbers of a cross-validation from the detections on its held-out slices.

Shapes: I images of all finished folds, F folds, T thresholds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .bootstrap import Statistic, group_indices, intervals
from .coco_ap import CocoStatistic
from .lesion_report import LesionReportSettings
from .lesion_set import LesionSet
from .metric_names import any_lesion
from .per_image_ap import PerImageAPStatistic
from .pixel_metrics import PixelStatistic

THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(1, 20))
MOST_CALLED_LESION = 0.005  # of the pixels of lesion-free slices, where a threshold can be chosen
# Prefix of a metric of pixels -> what the tables call it.
CONVENTIONS = {
    "dice_present": "mean over the slices that have the class",
    "dice_all": "mean over all slices, empty on both sides = 1",
    "pooled_dice": "pixels of all slices together",
}


class FoldStatistics:
    """Dice, COCO's and the papers' AP of the slices that folds hold out.

    Pixels are judged against all true pixels, AP against the lesions of training, tiny ones left
    out.

    Attributes:
        thresholds: (F,) lowest score of a detection whose pixels count. That of a fold is best on
            the slices of the other folds, which are its training data, predicted by models that
            did not train on them, among those at which its own model calls at most
            MOST_CALLED_LESION of the lesion-free slices lesion, or else the highest. With a single
            fold it is that of the settings.
        chosen: whether thresholds were chosen so.
        called_lesion: (F,) share of the lesion-free slices that is called lesion at the fold's
            threshold, see `lesion_share`; (0,) without such slices.
        by_threshold: (T,) threshold -> `dice_present` by suffix of class, over all slices. For
            diagnosis alone: to choose by it is to choose on held-out slices.
    """

    def __init__(
        self,
        pixels: LesionSet,
        lesions: LesionSet,
        fold_of: np.ndarray,
        settings: LesionReportSettings,
        lesion_free: Sequence[LesionSet] = (),
    ):
        """Measure.

        Args:
            pixels, lesions: the same images and detections, with all true lesions and without the
                tiny ones.
            fold_of: (I,) fold of each image in 0..F-1, none of them empty.
            settings: of AP, intervals, and of the threshold where it cannot be chosen.
            lesion_free: F sets of the same slices without lesions, of which no model has seen any,
                with what each fold's model finds in them; or none.
        """
        self.settings, self.groups = settings, group_indices(pixels.patients)
        self._own = np.arange(fold_of.max() + 1)[:, None] == fold_of  # (F, I)
        self.chosen = len(self._own) > 1
        at = {t: PixelStatistic(pixels, t) for t in THRESHOLDS}
        self.thresholds = np.full(len(self._own), settings.pixel_score_thresh)
        # (F,) whether more is called lesion at every threshold.
        self._too_much: np.ndarray = np.zeros(len(self._own), bool)
        if self.chosen:
            others = (~self._own).astype(float)
            goals = np.array([_goal(statistic, others) for statistic in at.values()])  # (T, F)
            if lesion_free:
                shares = np.array([[lesion_share(x, t) for x in lesion_free] for t in THRESHOLDS])
                allowed = shares <= MOST_CALLED_LESION
                self._too_much = np.all(~allowed, axis=0)
                allowed[-1] |= self._too_much
                goals[~allowed] = -np.inf
            self.thresholds = np.array(THRESHOLDS)[goals.argmax(axis=0)]
        pairs = zip(lesion_free, self.thresholds if lesion_free else (), strict=True)
        self.called_lesion = np.array([lesion_share(x, t) for x, t in pairs])
        every = np.ones((1, len(fold_of)))
        self.by_threshold = {
            t: {
                name: float(statistic(every)[f"dice_present_{name}"][0]) for name in statistic.areas
            }
            for t, statistic in at.items()
        }
        pixel = PixelStatistic(pixels, self.thresholds[fold_of])
        self.suffixes = list(pixel.areas)  # of any lesion, then of each class if there are several
        self.statistics: dict[str, Statistic] = {
            "pixel": pixel,
            "segm": CocoStatistic(lesions, "segm"),
            "per_image_ap": PerImageAPStatistic(
                lesions,
                settings.score_thresh,
                settings.min_area,
                settings.max_detections,
                settings.iou_thresholds,
            ),
        }

    def values(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return task -> metric -> its numbers.

        "value" is over all slices, each held out once (of AP: scores of several models ranked
        together), with "low" and "high" of 95 % of resampled patients, or slices where these are
        unknown; "folds" are the values of single folds, with their "mean" and "sd".
        """
        return {task: self._of(statistic, task) for task, statistic in self.statistics.items()}

    def threshold_from(self, numbers: Sequence[int]) -> str:
        """Say how thresholds were chosen; `numbers` are F names of the folds."""
        if not self.chosen:
            return "TEST.PIXEL_SCORE_THRESH, as a single fold has no others to choose it on"
        text = "slices of the other folds, predicted while held out"
        if len(self.called_lesion):
            text += (
                f", among scores from which the fold's model calls at most "
                f"{MOST_CALLED_LESION:.1%} of the lesion-free slices lesion"
            )
        if self._too_much.any():
            listed = ", ".join(str(numbers[i]) for i in np.flatnonzero(self._too_much).tolist())
            text += f"; none does in fold {listed}, which takes the highest, {THRESHOLDS[-1]}"
        return text

    def _of(self, statistic: Statistic, task: str) -> dict[str, dict[str, Any]]:
        with np.errstate(invalid="ignore", divide="ignore"):  # a fold may lack a class
            folds = statistic(self._own.astype(float))
            whole = statistic(np.ones((1, len(self.groups))))
        found: Mapping[str, Any] = {}
        if self.settings.resamples:
            bar = f"intervals of {task}"
            found = intervals(
                statistic, self.groups, self.settings.resamples, self.settings.seed, bar
            )
        return {name: _numbers(whole[name][0], x, found.get(name)) for name, x in folds.items()}


def lesion_share(lesions: LesionSet, threshold: float) -> float:
    """Return the mean over slices of the share of pixels that is called lesion."""
    pixels = PixelStatistic(lesions, threshold)
    found = pixels.areas[any_lesion(lesions.class_names)][1]
    return float(np.mean(found / pixels.sizes))


def _goal(statistic: PixelStatistic, weights: np.ndarray) -> np.ndarray:
    """(F,) what the threshold is chosen by: mean of `dice_all` of any lesion and of each class."""
    with np.errstate(invalid="ignore", divide="ignore"):
        values = statistic(weights)
    return np.mean([values[f"dice_all_{name}"] for name in statistic.areas], axis=0)


def _numbers(value: float, folds: np.ndarray, interval: Any) -> dict[str, Any]:
    known = folds[np.isfinite(folds)]
    spread = {
        "folds": folds.tolist(),
        "mean": float(known.mean()) if known.size else np.nan,
        "sd": float(known.std(ddof=1)) if known.size > 1 else np.nan,
    }
    limits = {"low": interval.low, "high": interval.high} if interval else {}
    return {"value": float(value), **limits, **spread}


def table_row(results: Mapping[str, Any]) -> str:
    """Return the two head lines and the row of a cross-validation in a Markdown table.

    Dice is "present / all / pooled" (CONVENTIONS), each over all held-out slices; the spread of
    `dice_present` of any lesion is between folds.
    """
    metrics, names = results["metrics"], results["suffixes"]
    spread = metrics["pixel"][f"dice_present_{names[0]}"]["sd"]

    def dice(name: str) -> str:
        values = (metrics["pixel"][f"{kind}_{name}"]["value"] for kind in CONVENTIONS)
        return " / ".join(_number(x) for x in values)

    cells = {
        "model": results["model"],
        "folds": f"{len(results['finished'])} of {results['folds']}",
        "threshold": ", ".join(dict.fromkeys(f"{x:g}" for x in results["thresholds"])),
        **{f"Dice {name}": dice(name) for name in names},
        "sd of folds": _number(spread),
        "AP": _number(metrics["segm"]["AP"]["mean"], 1),
        "AP50": _number(metrics["segm"]["AP50"]["mean"], 1),
        "per-image mAP": _number(metrics["per_image_ap"]["mAP"]["value"]),
        "minutes a fold": _number(results["minutes"], 1),
    }
    if check := results.get("lesion_free_check"):
        cells["lesion-free called lesion"] = f"{check['called_lesion']['mean']:.2%}"
    rows = (cells, ["---"] * len(cells), cells.values())
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"
