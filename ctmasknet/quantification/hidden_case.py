"""A case without what tells whose it is: pseudonyms for names, paths and UIDs.

What is known of an input is replaced: its path, files and members, patient and series. Texts of
readers are cut where they quote headers, as no rule knows what a header holds.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..inference.inputs import Input
from ..pseudonyms import Names
from .case import Case
from .lung_source import LungSource

_NO_SEG = (
    "No DICOM SEG: it names the patient and refers to the images of the series; "
    "--keep-identifiers writes it."
)
# Of a folder or zip, up to what is said of it; without one the path must end.
_MEMBER = r"(?:[!/\\].*?(?=: |$)|(?=[:,;) ]|$))"
# Quoted texts of headers, lists of series, UIDs, absolute paths: what follows is left out.
_TELLING = re.compile(
    r"(?<=expected one: ).*|(?<!\w)'.*|(?<![\w.])\d+(?:\.\d+){5,}.*|(?<![\w.])(?:/|\w:\\)\w.*", re.S
)


def name_inputs(inputs: Sequence[Input], names: Names) -> list[Input]:
    """Give inputs pseudonyms, under which their results stand, and save them.

    What lies at one path is told apart by its SeriesInstanceUID, or else numbered.
    """
    named, taken = [], Counter[str]()
    for item in inputs:
        place = os.path.abspath(item.path)
        place += f" (series {item.series_uid})" if item.series_uid else ""
        taken[place] += 1
        number = f" ({taken[place]})" if taken[place] > 1 else ""
        named.append(replace(item, pseudonym=names.of("scan", place + number)))
    names.save()
    return named


def hide_run(about: Mapping[str, Any], lung: LungSource, names: Names) -> dict[str, Any]:
    """Return `about` of a Case without the words of the command, folders and the series' UID."""
    settings = {**about["settings"], "identifiers": "pseudonyms"}
    if lung.path:
        settings["lung"] = "masks in files"
    if "series" in settings:
        settings["series"] = names.of("series", settings["series"])
    models = [
        {
            **model,
            "config": Path(model["config"]).name,
            "weights": Path(model["weights"]).name,
            "trained_on": ", ".join(Path(x).name for x in model["trained_on"].split(", ")),
        }
        for model in about["models"]
    ]
    command = " ".join(about["command"].split()[:2])  # ctmasknet predict
    return {**about, "command": command, "settings": settings, "models": models}


def hide_case(case: Case, source: Input, lung: LungSource, names: Names) -> Case:
    """Return a case that calls everything by pseudonyms, which are saved.

    `files` of slices taken one by one are where they were read from. `about` stays: see `hide_run`.
    """
    texts = _Texts(source, case, lung, names)
    slices = tuple(replace(s, source=texts.file(s.source)) for s in case.slices)
    called, scan, volume, notes = source.folder, case.scan, case.volume, case.notes
    if scan is not None and volume is not None:
        if "SeriesInstanceUID" in volume.identifiers and case.slices[0].has_masks:
            notes = (*notes, _NO_SEG)
        known: dict[str, Any] = {
            "patient": names.of("patient", volume.patient),
            "scan": called,
            "skipped": texts.hide_all(volume.skipped),
        }
        scan = replace(scan, slices=slices, source=called, **known)
        volume = replace(volume, source=Path(called), identifiers={}, slice_files=(), **known)
    method = case.quantities.lung_method
    for mask in lung.masks(source):
        method = method.replace(mask.name, "a mask in a file")
    hidden = replace(
        case,
        name=called,
        source=called,
        slices=slices,
        files=tuple(s.source for s in case.slices),
        scan=scan,
        volume=volume,
        quantities=replace(case.quantities, lung_method=method),
        notes=texts.hide_all(notes),
        problems=texts.hide_all(case.problems),
    )
    names.save()
    return hidden


class _Texts:
    """Replaces what is known of an input in texts."""

    def __init__(self, source: Input, case: Case, lung: LungSource, names: Names):
        self._names, self._called = names, source.folder
        files = {*map(str, source.files), *(s.source for s in case.slices if s.source)}
        self._files = {path: path for path in files}
        if not source.is_scan:  # notes on single slices have the name alone
            self._files |= {Path(path).name: path for path in files}
        folders = {str(Path(path).parent) for path in (*files, str(source.path))}
        known = sorted({str(source.path), *folders, *self._files}, key=len, reverse=True)
        # A short word of a path may be a word of a text, but not before a colon at its beginning.
        clear = [text for text in known if re.search(r"[/\\]|\w\.\w", text)]
        self._known = [
            re.compile(f"{before}({'|'.join(map(re.escape, texts))}){after}", re.S)
            for before, texts, after in (
                ("^", known, "(?=: )"),
                (r"(?<![\w./\\])", clear, _MEMBER),
            )
            if texts
        ]
        self._masks = [*map(str, lung.masks(source)), *([str(lung.path)] if lung.path else [])]

    def file(self, path: str) -> str:
        return self._names.of("slice", os.path.abspath(path)) if path else ""

    def hide_all(self, texts: Iterable[str]) -> tuple[str, ...]:
        return tuple(map(self._hide, texts))

    def _hide(self, text: str) -> str:
        for mask in self._masks:
            text = text.replace(mask, "a mask in a file")
        for pattern in self._known:
            text = pattern.sub(self._replacement, text)
        return _TELLING.sub("…", text)

    def _replacement(self, match: re.Match[str]) -> str:
        whole, known = match[0], match[1]
        if whole == known and known not in self._files:
            return self._called
        # A member of a folder or zip is a file of its own, whether or not it could be read.
        return self.file(self._files.get(whole, whole))
