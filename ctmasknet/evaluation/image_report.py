"""From predictions of image classes to numbers, figures and results.json.

Rule, temperature and thresholds are chosen on validation data alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from ..atomic_write import atomic_files
from ..wording import counted
from .aggregation import Level, choose_rule, levels
from .bootstrap import RESAMPLES, SEED, group_indices, interval_warnings
from .calibration import (
    at_limit,
    at_threshold,
    calibration_metrics,
    fit_temperature,
    operating_point,
    reliability_bins,
)
from .image_figures import save_confusion_matrix, save_reliability
from .prediction_table import PredictionTable
from .results import RESULTS, read_results, write_results
from .rules import MEAN, Rule
from .scan_rules import ScanHeadRule, check_rule, find_rule
from .tasks import describe_intervals, measure


@dataclass(frozen=True)
class ImageReportSettings:
    """What a person may choose."""

    # From slices to scans, see `find_rule`; None: the best on validation data, "mean" without any.
    rule: str | None = None
    sensitivity: float = 0.95  # wanted on validation data, in (0, 1]; thresholds are set for it
    resamples: int = RESAMPLES  # of the bootstrap; 0 computes no intervals
    seed: int = SEED

    def __post_init__(self) -> None:
        if self.rule is not None:
            find_rule(self.rule)
        if not 0 < self.sensitivity <= 1:
            raise ValueError(f"sensitivity {self.sensitivity}: expected above 0 and at most 1")
        if self.resamples < 0:
            raise ValueError(f"resamples {self.resamples}: expected 0 (no intervals) or more")

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> "ImageReportSettings":
        """Return the settings of a run."""
        test = cfg.TEST
        return cls(test.AGGREGATION or None, test.SENSITIVITY, test.BOOTSTRAP_RESAMPLES)


def report_images(
    table: PredictionTable,
    output: Path,
    validation: PredictionTable | None = None,
    settings: ImageReportSettings | None = None,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write results.json, confusion_matrix.png and reliability.png, all of them or none.

    `validation` holds predictions of other slices, on which rule, temperature and thresholds are
    chosen; without it nothing is chosen. `about` is recorded, too (dataset, model, command, ...),
    its "warnings" among the others. Returns the content of results.json. A ValueError: validation
    has the same slices or other classes.
    """
    settings, about = settings or ImageReportSettings(), about or {}
    if validation:
        _check(table, validation)
    rule, aggregation = _choose_rule(validation, settings)
    check_rule(rule, table.class_names, table)
    found = levels(table, rule)
    before, after = reliability_bins(table.labels, table.probabilities()), None
    temperature, calibration, points = None, None, None
    if validation:
        temperature = fit_temperature(validation)
        after = reliability_bins(table.labels, table.probabilities(temperature))
        calibration = _calibration(table, validation, temperature)
        points = _operating_points(found, levels(validation, rule), settings.sensitivity)
    measured = measure("images", {level.name: (level,) for level in found})
    unit = "slice" if _patients_are_slices(table) else "patient"
    content = {
        **about,
        "kind": "images",
        "classes": table.class_names,
        "dataset": {
            **about.get("dataset", {}),
            "fingerprint": table.fingerprint(),
            **{f"{level.name}s": len(level.labels) + level.left_out for level in found},
            "left_out": {level.name: level.left_out for level in found[1:]},
        },
        "confusion": {level.name: level.confusion().tolist() for level in found},
        "aggregation": aggregation,
        "calibration": calibration,
        "operating_points": points,
        "intervals": describe_intervals(measured, unit, settings.resamples, settings.seed),
        "settings": {**asdict(settings), "rule": settings.rule and rule.name},
        "warnings": [
            *about.get("warnings", ()),
            *(interval_warnings(group_indices(table.patients)) if settings.resamples else ()),
            *_warnings(table, found, validation, temperature),
        ],
    }
    metrics = {task: one.metrics() for task, one in measured.items()}
    with atomic_files(output, last=RESULTS) as partial:
        matrix = partial / "confusion_matrix.png"
        save_confusion_matrix(matrix, found[0].confusion(), table.class_names)
        save_reliability(partial / "reliability.png", before, after)
        write_results(partial / RESULTS, metrics, **content)
    return read_results(Path(output) / RESULTS)


def _check(table: PredictionTable, validation: PredictionTable) -> None:
    if validation.class_names != table.class_names:
        raise ValueError(
            f"validation has the classes {', '.join(validation.class_names)}, the reported "
            f"predictions {', '.join(table.class_names)}: expected the same in the same order"
        )
    if validation.fingerprint() == table.fingerprint():
        raise ValueError(
            "validation and the reported predictions are of the same slices: what is chosen on "
            "them cannot be judged on them; give predictions for a validation set"
        )


def _choose_rule(
    validation: PredictionTable | None, settings: ImageReportSettings
) -> tuple[Rule, dict[str, Any]]:
    rule, scores, chosen_on = MEAN, None, "default"
    if settings.rule is not None:
        rule, chosen_on = find_rule(settings.rule), "given"
    elif validation and len(levels(validation, MEAN)[1].labels) < len(validation.labels):
        # Where each scan has one slice there is nothing to sum up.
        (rule, scores), chosen_on = choose_rule(validation), "validation"
    told = {"rule": rule.name, "chosen_on": chosen_on, "validation_scores": scores}
    # With its weights: the file that they are from may move.
    return rule, told | ({"head": rule.content} if isinstance(rule, ScanHeadRule) else {})


def _calibration(
    table: PredictionTable, validation: PredictionTable, temperature: float
) -> dict[str, Any]:
    return {
        "temperature": temperature,
        "fitted_on": {"fingerprint": validation.fingerprint(), "images": len(validation.labels)},
        "before": calibration_metrics(table.labels, table.probabilities()),
        "after": calibration_metrics(table.labels, table.probabilities(temperature)),
    }


def _operating_points(
    found: Sequence[Level], validation: Sequence[Level], sensitivity: float
) -> dict[str, Any]:
    values: dict[str, dict] = {level.name: {} for level in found}
    for here, there in zip(found, validation, strict=True):
        for i, name in enumerate(here.class_names):
            scores, positive = there.probabilities[:, i], there.labels == i
            threshold = operating_point(scores, positive, sensitivity)
            reached = at_threshold(scores, positive, threshold)["sensitivity"]
            values[here.name][name] = {
                "threshold": threshold,
                "validation_sensitivity": reached,
                **at_threshold(here.probabilities[:, i], here.labels == i, threshold),
            }
    return {"requested_sensitivity": sensitivity, "fixed_on": "validation", "values": values}


def _patients_are_slices(table: PredictionTable) -> bool:
    return len(set(table.patients)) == len(table.patients)


def _warnings(
    table: PredictionTable,
    found: Sequence[Level],
    validation: PredictionTable | None,
    temperature: float | None,
) -> list[str]:
    warnings = []
    unknown = sum(map(str.__eq__, table.patients, table.file_names))
    alone = _patients_are_slices(table)
    if alone or unknown:
        which = "each slice" if alone else f"each of {counted(unknown, 'slice')} without id"
        warnings.append(
            f"{which} counts as a patient: intervals are too narrow where patients have several"
        )
    shared = set(table.patients) & set(validation.patients) if validation else ()
    if shared:
        warnings.append(
            f"{counted(len(shared), 'patient')} of validation are among the reported ones, "
            f"as {min(shared)}: what is chosen there looks better here than it is"
        )
    if temperature is not None and at_limit(temperature):
        warnings.append(
            "the temperature is at the limit of its range: on validation the logits say next to "
            "nothing, or are always right"
        )
    warnings += [
        f"{counted(level.left_out, level.name)} left out, as the slices have several labels"
        for level in found
        if level.left_out
    ]
    return warnings
