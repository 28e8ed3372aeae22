"""Predict inputs one after the other, each into a folder of its own, whole or not at all."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..atomic_write import atomic_write
from ..data.classes import NOTICE
from ..inference.inputs import Input, file_states
from ..inference.predictor import Predictor
from ..provenance import versions
from ..quantification.build_case import Measuring, build_case, key_slices
from ..report.case_files import REPORT, RESULT, write_case
from ..volumes.window import say_windowed_once
from ..wording import counted

SUMMARY = "summary.csv"
# Of one input: what is wrong with its files, with writing its results, or with the device.
_FAILURES = (ValueError, OSError, ArithmeticError, RuntimeError, MemoryError)
_PACKAGES = ("highdicom", "opencv-python-headless", "pydicom", "scipy", "SimpleITK")


@dataclass(frozen=True)
class Run:
    """What `predict_inputs` did.

    Attributes:
        results: result.json of each input that has one, in order; see docs/prediction.md.
        resumed: names of the inputs that were done already.
        problems: what could not be used, a line each.
    """

    results: list[dict[str, Any]]
    resumed: list[str]
    problems: list[str]


def predict_inputs(
    predictor: Predictor,
    inputs: Sequence[Input],
    output: Path,
    measuring: Measuring,
    command: str,
    resume: bool = False,
) -> Run:
    """Predict inputs and write their folders and summary.csv.

    An input that cannot be used does not stop the others; nothing is written for it.

    Args:
        predictor: the model.
        inputs: with names of their own.
        output: folder, made if needed.
        measuring: how inputs are read and measured.
        command: what was run, for the results.
        resume: leave alone what an earlier run has done with the same models, settings and input.

    Raises:
        OSError: the output cannot be written.
    """
    if not all(source.is_scan for source in inputs):  # of scans their reader says so
        say_windowed_once(measuring.window)
    run = Run([], [], [])
    about = describe_run(predictor, measuring, command)
    with (
        _summarising(output),
        tqdm(inputs, "inputs", unit="input", disable=len(inputs) == 1) as bar,
    ):
        for source in bar:
            folder = output / source.name
            try:
                mine = {**about, "input_fingerprint": _fingerprint(source, measuring)}
                result = _done(folder, mine) if resume else None
                if result is not None:
                    run.resumed.append(source.name)
                else:
                    _predict(predictor, source, folder, measuring, mine)
                    result = read_result(folder)
                    assert result is not None
                    tqdm.write(f"{describe_result(result)}\n  {folder / REPORT}")
            except _FAILURES as error:
                run.problems.append(f"{source.path}: {type(error).__name__}: {error}")
                if isinstance(error, FileNotFoundError | ValueError | FloatingPointError):
                    run.problems[-1] = str(error)  # these say what and where
                tqdm.write(f"{source.name}: failed")
                continue
            run.problems.extend(result["problems"])
            run.results.append(result)
    return run


def describe_run(predictor: Predictor, measuring: Measuring, command: str) -> dict[str, Any]:
    """Where the answers come from, in plain types: models, settings, versions, time, command."""
    found = predictor.describe()
    lung = str(measuring.lung_mask) if measuring.lung_mask else "found" if measuring.lung else "no"
    settings = {**found["settings"], "window": str(measuring.window), "lung": lung}
    if measuring.series:
        settings["series"] = measuring.series
    return {
        "command": command,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "models": found["models"],
        "settings": settings,
        "versions": versions() | {name: version(name) for name in _PACKAGES},
        "notice": NOTICE,
    }


def describe_result(result: dict[str, Any]) -> str:
    """One line about a result.json."""
    slices, total = result["slices"], list(result["quantities"]["lesions"].values())[-1]
    parts = [counted(len(slices), "slice")]
    if result["class"]:
        parts.append(f"{result['class']} {result['probabilities'][result['class']]:.0%}")
    elif slices[0]["class"]:
        classes = Counter(found["class"] for found in slices)
        parts += [f"{count} {name}" for name, count in classes.most_common()]
    if total["lesions_3d"] is None:
        parts.append(counted(total["instances"], "lesion"))
    else:
        outlines = counted(total["instances"], "outline")
        parts.append(f"{counted(total['lesions_3d'], 'lesion')} ({outlines} on slices)")
    if total["volume_ml"] is not None:
        parts.append(f"{total['volume_ml']:.1f} ml")
    if total["share_of_lung"] is not None:
        parts.append(f"{total['share_of_lung']:.1%} of the lung")
    return f"{result['name']}: {', '.join(parts)}"


def _predict(
    predictor: Predictor, source: Input, folder: Path, measuring: Measuring, about: dict[str, Any]
) -> None:
    """Predict one input and put its folder in place."""
    case = build_case(predictor, source, measuring, about, bar=True)
    shown = key_slices(predictor, case, measuring.window)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        write_case(partial, case, shown)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fingerprint(source: Input, measuring: Measuring) -> str:
    """Changes when a file of the input or of its lung masks does, or what they are taken as."""
    masks = file_states(measuring.masks(source))
    return hashlib.sha256(json.dumps([source.is_scan, source.state(), masks]).encode()).hexdigest()


def _done(folder: Path, about: dict[str, Any]) -> dict[str, Any] | None:
    """The result of an earlier run if this one would give the same."""
    result = read_result(folder)
    if result is None:
        return None
    before = result["about"]
    same = all(before[key] == about[key] for key in ("input_fingerprint", "settings"))
    same &= [_identity(x) for x in before["models"]] == [_identity(x) for x in about["models"]]
    return result if same else None


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result.json of a folder; None if it has none of this version."""
    try:
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        result["problems"], result["quantities"]["lesions"], result["slices"][0]["class"]
        about = result["about"]
        about["input_fingerprint"], about["settings"], [_identity(x) for x in about["models"]]
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None
    return result


def _identity(model: dict[str, Any]) -> tuple[str, str]:
    return model["sha256"], model["config_sha256"]


@contextmanager
def _summarising(output: Path) -> Iterator[None]:
    """Write summary.csv of all results in a folder at the end, also of an interrupted run."""
    try:
        yield
    finally:
        results = [read_result(path.parent) for path in sorted(output.glob(f"*/{RESULT}"))]
        if known := [result for result in results if result is not None]:
            _write_summary(output / SUMMARY, known)


def _write_summary(path: Path, results: Sequence[dict[str, Any]]) -> None:
    """A line for each result, for those who want a table of many scans."""
    classes = list(dict.fromkeys(name for r in results for name in r.get("probabilities") or ()))
    lesions = list(dict.fromkeys(name for r in results for name in r["quantities"]["lesions"]))
    measures = ("instances", "lesions_3d", "volume_ml", "share_of_lung")
    head = ["name", "input", "kind", "slices", "class", *(f"p_{name}" for name in classes)]
    head += [f"{measure}_{name}" for name in lesions for measure in measures]
    head += ["lung_volume_ml", "severity"]
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(head)
        for result in results:
            found = result["quantities"]
            row = [result[key] for key in ("name", "input", "kind")]
            row += [len(result["slices"]), result.get("class")]
            row += [(result.get("probabilities") or {}).get(name) for name in classes]
            row += [
                found["lesions"].get(name, {}).get(measure)
                for name in lesions
                for measure in measures
            ]
            writer.writerow([*row, found["lung_volume_ml"], found["severity"]])
