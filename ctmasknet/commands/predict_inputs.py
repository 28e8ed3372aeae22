"""Predict inputs one after the other, each into a folder of its own, whole or not at all."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..data.images import read_slice
from ..data.window import Window, say_windowed_once
from ..errors import ErrorPolicy
from ..inference.inputs import Input, file_states
from ..inference.predictor import Predictor
from ..inference.read_ahead import ReadAhead
from ..provenance import versions
from ..pseudonyms import Names
from ..quantification.build_case import QuantificationOptions, build_case, read_scan
from ..quantification.case import Case, KeySlice, choose_key_slices
from ..quantification.hidden_case import hide_case, hide_run
from ..quantification.lung_rules import FIELD_OF_VIEW, RULES
from ..report.case_files import REPORT, write_case
from ..volumes.volume import Volume
from ..wording import NOTICE
from .results import describe_result, made_from, read_result, write_summary

# Of one input: what is wrong with its files, with writing its results, or with the device.
_FAILURES = (ValueError, OSError, ArithmeticError, RuntimeError, MemoryError)
_PACKAGES = ("highdicom", "opencv-python-headless", "pydicom", "scipy", "SimpleITK")


@dataclass
class Run:
    """What `predict_inputs` did."""

    # The result.json of each input that has one, in order; see docs/prediction.md.
    results: list[dict[str, Any]] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)  # names of inputs that were done already
    problems: list[str] = field(default_factory=list)  # what could not be used, a line each

    def fail(self, source: Input, error: BaseException) -> None:
        """Record and say that an input failed; errors that are known say what and where."""
        known = isinstance(error, FileNotFoundError | ValueError | FloatingPointError)
        what = "" if known else f"{source.path}: {type(error).__name__}: "
        self.problems.append(f"{what}{error}")
        tqdm.write(f"{source.name}: failed")


def predict_inputs(
    predictor: Predictor,
    inputs: Sequence[Input],
    output: Path,
    options: QuantificationOptions,
    command: str,
    resume: bool = False,
    names: Names | None = None,
    viewer: bool = True,
) -> Run:
    """Predict inputs and write their folders and summary.csv.

    An input that cannot be used does not stop the others; nothing is written for it. With `resume`,
    what was done with the same models, settings and input stays. `command` is named in the results,
    which with `names` call everything by pseudonyms. `viewer` puts all slices of scans into their
    reports. Raises an OSError if the output cannot be written.
    """
    if not all(source.is_scan for source in inputs):  # of scans their reader says so
        say_windowed_once(options.window)
    run = Run()
    about = _describe_run(predictor, options, command)
    if names:
        about = hide_run(about, options.lung, names)
    # Beside each other: the next scan is read, one is predicted, the last one is written.
    ahead = ReadAhead(
        (x for x in inputs if x.is_scan and not (resume and read_result(output / x.folder))),
        lambda source: read_scan(source, options),
    )
    with ThreadPoolExecutor(1) as writer:
        waiting: list[_Written] = []  # one or none
        try:
            for source in tqdm(inputs, "inputs", unit="input", disable=len(inputs) == 1):
                folder, found = output / source.folder, None
                try:
                    mine = {**about, "input_fingerprint": _fingerprint(source, options, names)}
                    result = read_result(folder) if resume else None
                    if result is None or made_from(result["about"]) != made_from(mine):
                        found = _predict(predictor, source, options, mine, names, ahead.take)
                except _FAILURES as error:
                    _record(run, waiting)
                    run.fail(source, error)
                    continue
                _record(run, waiting)
                if found:
                    case, shown, problems = found
                    called = f"{source.path} is " if names else ""
                    future = writer.submit(_write, folder, case, shown, viewer, called)
                    waiting.append(_Written(source, future, problems))
                elif result:
                    run.resumed.append(source.name)
                    problems = result["problems"]
                    run.problems += [names.reveal(line) for line in problems] if names else problems
                    run.results.append(result)
        finally:
            _record(run, waiting)
            write_summary(output)  # of an interrupted run, too
    return run


@dataclass
class _Written:
    """An input whose results are being written."""

    source: Input
    result: Future[dict[str, Any]]  # its result.json
    problems: Sequence[str]


def _record(run: Run, waiting: list[_Written]) -> None:
    """Wait until what is being written is there, or failed."""
    while waiting:
        written = waiting.pop()
        try:
            result = written.result.result()
        except _FAILURES as error:
            run.fail(written.source, error)
            continue
        run.problems.extend(written.problems)
        run.results.append(result)


def _describe_run(
    predictor: Predictor, options: QuantificationOptions, command: str
) -> dict[str, Any]:
    """Say in plain types where results come from: models, settings, versions, time, command."""
    found = predictor.describe()
    settings = {
        **found["settings"],
        "lung": str(options.lung),
        "rules": ", ".join(_rules_on(options)) or "none",
    }
    if options.series:
        settings["series"] = options.series
    return {
        "command": command,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "models": found["models"],
        "settings": settings,
        "versions": versions() | _installed(_PACKAGES),
        "notice": NOTICE,
    }


def _rules_on(options: QuantificationOptions) -> list[str]:
    """Return the rules that are on; without a lung that is the field of view alone."""
    return [x for x in RULES if x in options.rules and (options.lung or x == FIELD_OF_VIEW)]


def _installed(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed; some are of extras."""
    found = {}
    for name in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _fingerprint(source: Input, options: QuantificationOptions, names: Names | None) -> str:
    """Hash the state of an input's files and lung masks, and whether it is taken as a scan."""
    masks = file_states(options.lung.masks(source))
    state = json.dumps([source.is_scan, source.state(), masks])
    return names.digest(state) if names else hashlib.sha256(state.encode()).hexdigest()


def _predict(
    predictor: Predictor,
    source: Input,
    options: QuantificationOptions,
    about: dict[str, Any],
    names: Names | None,
    read: Callable[[Input], tuple[Volume, ErrorPolicy]],
) -> tuple[Case, list[KeySlice], tuple[str, ...]]:
    """Predict one input; return what is to be written of it, and its problems."""
    case = build_case(predictor, source, options, about, read)
    for line in case.volume.skipped if case.volume else ():
        if line not in case.problems:  # those are listed at the end
            tqdm.write(f"note: {line}")
    shown, problems = _key_slices(predictor, case, options.window), case.problems
    if names:
        case = hide_case(case, source, options.lung, names)
    return case, shown, problems


def _write(
    folder: Path, case: Case, shown: list[KeySlice], viewer: bool, called: str
) -> dict[str, Any]:
    """Put the folder of an input in place and say so; return its result.json."""
    partial, old = (folder.with_name(f".{folder.name}.{os.getpid()}{x}") for x in ("", ".old"))
    try:
        write_case(partial, case, shown, viewer)
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():  # stopped between the two
            old.rename(folder)
        raise
    finally:
        for place in (partial, old):
            shutil.rmtree(place, ignore_errors=True)
    result = read_result(folder)
    assert result is not None
    tqdm.write(f"{called}{describe_result(result)}\n  {folder / REPORT}")
    return result


def _key_slices(predictor: Predictor, case: Case, window: Window) -> list[KeySlice]:
    """Read the slices that the report shows, and predict them again for their score maps."""
    found = []
    for index in tqdm(
        choose_key_slices(case), f"{case.name[:24]}: key slices", unit="slice", leave=False
    ):
        if case.volume is not None:
            image = case.volume.slice(index, window)
            seen = case.volume.slice(index, window, predictor.models.channels[1])
        else:
            image = seen = read_slice(case.slices[index].source)
        prediction = case.slices[index]
        score_map = predictor.score_map(seen, prediction.field) if prediction.searched else None
        found.append(KeySlice(index, image, score_map))
    return found
