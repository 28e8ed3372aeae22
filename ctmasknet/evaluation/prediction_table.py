"""Predictions of image classes as a table and as a CSV, from which all else is computed.

Shapes: S slices, C image classes.
"""

import csv
import hashlib
import itertools
import json
import logging
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import softmax

from ..atomic_write import atomic_write
from ..csv_cells import plain, write_rows
from ..data.classes import IMAGE_CLASSES, label_numbers
from ..data.images import what_else_it_is
from .metric_names import check_class_names

logger = logging.getLogger(__name__)
PREDICTIONS = "predictions.csv"
RESERVED = ("macro", "weighted")  # of metrics, beside the classes
COLUMNS = ("file_name", "patient", "scan", "label")
LOGIT, PROBABILITY = "logit_", "prob_"  # how columns of scores begin
_ROUNDING = 0.0051  # of a probability with two decimals, or a percentage without
# What logits may be by mistake, by the sum of a row.
_TOLD = {1: "probabilities, name", 100: "percentages, divide them by 100 and name"}


@dataclass(frozen=True)
class PredictionTable:
    """Predictions of S slices, and what is true of them."""

    class_names: tuple[str, ...]
    file_names: tuple[str, ...]  # all different
    patients: tuple[str, ...]
    scans: tuple[str, ...]
    labels: np.ndarray  # (S,) int64 in 0..C-1
    logits: np.ndarray  # (S, C) float64

    def probabilities(self, temperature: float = 1.0) -> np.ndarray:
        """Return the softmax of the logits over a temperature: (S, C)."""
        return softmax(self.logits / temperature, axis=1)

    def fingerprint(self) -> str:
        """Return a SHA-256 of names, labels, patients and scans, wherever the data set lies."""
        rows = [
            # A path that stands for an unknown patient or scan moves with the data set.
            [name, label, *("" if x == file else x for x in (patient, scan))]
            for name, file, label, patient, scan in zip(
                portable_names(self.file_names),
                self.file_names,
                self.labels.tolist(),
                self.patients,
                self.scans,
                strict=True,
            )
        ]
        content = json.dumps([self.class_names, sorted(rows)])
        return hashlib.sha256(content.encode()).hexdigest()


def portable_names(paths: Sequence[str]) -> list[str]:
    """Return paths from the deepest folder that holds all of them, with forward slashes."""
    folders = {os.path.dirname(os.path.abspath(path)) for path in paths}
    root = os.path.commonpath(folders)
    return [Path(os.path.relpath(os.path.abspath(path), root)).as_posix() for path in paths]


def write_predictions(table: PredictionTable, path: str | os.PathLike) -> None:
    """Write a table as `file_name,patient,scan,label,logit_0,...`, whole or not at all."""
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        head = [*COLUMNS, *(f"logit_{i}" for i in range(len(table.class_names)))]
        columns = (table.file_names, table.patients, table.scans, table.labels.tolist())
        lines = zip(*columns, table.logits.tolist(), strict=True)
        write_rows(file, [head, *([*about, *logits] for *about, logits in lines)])


def read_predictions(
    path: str | os.PathLike, class_names: Sequence[str] | None = None
) -> PredictionTable:
    """Read predictions of any system from a UTF-8 CSV.

    Its columns are `file_name,patient,scan,label,logit_0,logit_1,...`, or `prob_0,prob_1,...` for
    probabilities, whose logarithms become the logits; others are ignored. `label` is 0..C-1 or a
    class name. Classes, in the order of the logits, are by default the papers' three or, with
    another number of logits, class_0, class_1, ... Logits that look like probabilities are told as
    a warning. A ValueError names the unusable line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of predictions")
    with path.open(newline="", encoding="utf-8-sig") as stream:
        try:
            reader = csv.DictReader(stream)
            kind, count = _count_scores(path, reader.fieldnames or ())
            if class_names is None:
                numbered = tuple(f"class_{i}" for i in range(count))
                class_names = IMAGE_CLASSES if count == len(IMAGE_CLASSES) else numbered
            if len(class_names) != count:
                raise ValueError(
                    f"{path}: {count} logits, but {len(class_names)} classes "
                    f"({', '.join(class_names)})"
                )
            rows = []
            for row in reader:
                try:
                    cells = {k: plain(v) if k and v else v for k, v in row.items()}
                    rows.append(_parse(cells, tuple(class_names), kind))
                except ValueError as error:
                    raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not a UTF-8 CSV file ({error})") from None
    table = make_table(rows, class_names, str(path))
    for total, told in _TOLD.items():
        if kind == LOGIT and _are_shares(table.logits, total):
            logger.warning(
                "%s: all rows of logit_0, logit_1, ... are within 0 to %d and add up to %d: if they"
                " are %s the columns prob_0, prob_1, ..., or calibration is wrong",
                *(path, total, total, told),
            )
    return table


def make_table(
    rows: Sequence[tuple[str, str, str, int, Sequence[float]]],
    class_names: Sequence[str],
    source: str,
) -> PredictionTable:
    """Make a table of (file name, patient, scan, label, logits) rows, sorted by file name.

    A ValueError names `source` if there is no row, or a file is there twice.
    """
    if not rows:
        raise ValueError(f"{source}: found no prediction, expected one for each slice")
    check_class_names(class_names, RESERVED)
    rows = sorted(rows, key=lambda row: row[0])  # the same from any number of processes
    file_names, patients, scans, labels, logits = zip(*rows, strict=True)
    for name, after in itertools.pairwise(file_names):
        if name == after:
            raise ValueError(f"{source}: {name} is there twice, expected each slice once")
    return PredictionTable(
        tuple(class_names),
        file_names,
        patients,
        scans,
        np.array(labels, dtype=np.int64),
        np.array(logits, dtype=np.float64),
    )


def _count_scores(path: Path, columns: Sequence[str]) -> tuple[str, int]:
    """Return how the columns of scores begin, and their number."""
    counts = {kind: sum(x.startswith(kind) for x in columns) for kind in (LOGIT, PROBABILITY)}
    kind = PROBABILITY if counts[PROBABILITY] and not counts[LOGIT] else LOGIT
    count = counts[kind]
    missing = [name for name in COLUMNS if name not in columns]
    missing += [f"{kind}{i}" for i in range(max(count, 2)) if f"{kind}{i}" not in columns]
    if missing:
        if columns and (found := what_else_it_is(path)):
            raise ValueError(f"{path}: found {found}, expected predictions")
        raise ValueError(
            f"{path}, line 1: found the columns '{','.join(columns)}', expected "
            f"'{','.join(COLUMNS)},logit_0,logit_1,...' (no {', '.join(missing)})"
        )
    return kind, count


def _are_shares(values: np.ndarray, total: int = 1) -> bool:
    """Tell whether all (S, C) values are within 0 to `total`, and add up to it in each row."""
    off = np.abs(values.sum(axis=1) - total)
    tolerance = _ROUNDING * total * values.shape[1]
    return bool(((values >= 0) & (values <= total)).all() and (off <= tolerance).all())


def _parse(
    row: dict, class_names: tuple[str, ...], kind: str
) -> tuple[str, str, str, int, list[float]]:
    if None in row:
        raise ValueError(f"{len(row[None])} fields too many; decimals need a point, not a comma")
    about = [(row[column] or "").strip() for column in COLUMNS]
    for column, value in zip(COLUMNS, about, strict=True):
        if not value:
            hint = "; repeat file_name where it is unknown" if column in COLUMNS[1:3] else ""
            raise ValueError(f"no value for '{column}'{hint}")
    file_name, patient, scan, label = about
    labels = label_numbers(class_names)
    if label not in labels:
        raise ValueError(
            f"unknown label '{label}', expected 0 to {len(class_names) - 1} or one of "
            f"{', '.join(class_names)}"
        )
    logits = []
    for i in range(len(class_names)):
        text = row[f"{kind}{i}"]
        try:
            logits.append(float(text))
        except (TypeError, ValueError):
            hint = " (divide percentages by 100)" if "%" in str(text) else ""
            raise ValueError(f"{kind}{i} is '{text}', expected a number{hint}") from None
        if not math.isfinite(logits[-1]):
            raise ValueError(f"{kind}{i} is {text}, expected a finite number")
    if kind == PROBABILITY:
        if not _are_shares(np.array([logits])):
            raise ValueError(
                f"probabilities {', '.join(map(str, logits))}, expected 0 to 1 that add up to 1 "
                "(divide percentages by 100)"
            )
        logits = [math.log(max(x, sys.float_info.min)) for x in logits]
    return file_name, patient, scan, labels[label], logits
