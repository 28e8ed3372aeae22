"""What DICOM calls lesion classes: known codes, those that users register, and private ones."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from ..data.list_files import read_csv

_COLUMNS = ("name", "value", "scheme", "meaning")
PRIVATE_SCHEME = "99CTMASKNET"  # "99" says that nobody else knows its codes (PS3.3, 8.2)


@dataclass(frozen=True)
class SegmentCode:
    """What DICOM calls a lesion class.

    Attributes:
        value: the code, 1 to 16 characters.
        scheme: of the code, 1 to 16 characters: "SCT" (SNOMED CT), "DCM" (DICOM), or one of your
            own, which begins with "99".
        meaning: the same for people, 1 to 64 characters.
        region: where in the body it lies; None says nothing of it.
    """

    value: str
    scheme: str
    meaning: str
    region: Code | None = None

    def __post_init__(self) -> None:
        for text, most in ((self.value, 16), (self.scheme, 16), (self.meaning, 64)):
            if not 1 <= len(text) <= most or "\\" in text or not text.isprintable():
                raise ValueError(
                    f"found '{text}' in a DICOM code, expected 1 to {most} printable characters "
                    "without backslash"
                )

    @property
    def is_private(self) -> bool:
        """Whether it is a code that only this package knows."""
        return self.scheme == PRIVATE_SCHEME


SEGMENT_CODES: dict[str, SegmentCode] = {}  # by `_key` of the class name


def register_segment_code(
    name: str, value: str, scheme: str, meaning: str, region: Code | None = None
) -> SegmentCode:
    """Add the DICOM code of a lesion class, or replace it.

    Args:
        name: of the class; case, and what is neither letter nor digit, do not count.
        value, scheme, meaning, region: see `SegmentCode`.

    Raises:
        ValueError: a text that DICOM does not take.
    """
    code = SEGMENT_CODES[_key(name)] = SegmentCode(value, scheme, meaning, region)
    return code


def register_segment_codes(path: Path) -> None:
    """Add the codes of a CSV file with the columns name, value, scheme and meaning.

    FileNotFoundError, ValueError: no such file, a column that lacks, or a line that DICOM does not
    take.
    """
    for line, row in read_csv(path, "file of DICOM codes", _COLUMNS):
        try:
            name, value, scheme, meaning = (row[column] or "" for column in _COLUMNS)
            register_segment_code(name, value, scheme, meaning)
        except ValueError as error:
            raise ValueError(f"{path}, line {line}: {error}") from None


def segment_codes(lesion_classes: Sequence[str]) -> list[SegmentCode]:
    """Return the code of each class of a model; a private one, from its name, where it has none.

    C is consolidation beside GGO, as in the papers; elsewhere it may be anything.
    """
    papers = "GGO" in lesion_classes
    return [
        SEGMENT_CODES.get(_key(name))
        or (SEGMENT_CODES["consolidation"] if papers and name == "C" else _private_code(name))
        for name in lesion_classes
    ]


def private_code_notes(lesion_classes: Sequence[str]) -> list[str]:
    """Say which classes have only a private code, a line each."""
    return [
        f"'{name}' has no DICOM code: the DICOM SEG has the private code {code.value} "
        f"({PRIVATE_SCHEME}) for it, which other systems do not know; --segment-codes, or "
        "register_segment_code in Python, gives it one."
        for name, code in zip(lesion_classes, segment_codes(lesion_classes), strict=True)
        if code.is_private
    ]


def _private_code(name: str) -> SegmentCode:
    value = hashlib.sha256(name.encode()).hexdigest()[:16].upper()
    return SegmentCode(value, PRIVATE_SCHEME, meaning=name)


def _key(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name.casefold()).strip() or name


_LUNG, _PLEURA, _PERICARDIUM = codes.SCT.Lung, codes.SCT.PleuralStructure, codes.SCT.Pericardium

# Code, region, names. Only what is certain: cavities and crazy paving, for example, are left out.
# A region is given where the class can lie nowhere else. Code(...) are SNOMED CT's that pydicom's
# dictionary lacks.
_KNOWN: tuple[tuple[Code, Code | None, tuple[str, ...]], ...] = (
    (codes.DCM.GroundGlassOpacity, _LUNG, ("GGO", "ground glass", "ground glass opacity")),
    (Code("95436008", "SCT", "Lung consolidation"), _LUNG, ("consolidation",)),
    (codes.SCT.Lesion, None, ("lesion",)),
    (codes.SCT.Nodule, None, ("nodule",)),
    (codes.SCT.Nodule, _LUNG, ("lung nodule", "pulmonary nodule")),
    (codes.DCM.Micronodule, None, ("micronodule",)),
    (codes.SCT.Mass, None, ("mass",)),
    (codes.SCT.Mass, _LUNG, ("lung mass", "pulmonary mass")),
    (codes.SCT.Cyst, None, ("cyst",)),
    (codes.SCT.Abscess, None, ("abscess",)),
    (codes.SCT.Fibrosis, None, ("fibrosis",)),
    (codes.SCT.Fibrosis, _LUNG, ("lung fibrosis", "pulmonary fibrosis")),
    (codes.DCM.HoneycombPattern, _LUNG, ("honeycombing", "honeycomb pattern")),
    (codes.DCM.ReticularPattern, _LUNG, ("reticulation", "reticular pattern")),
    (codes.DCM.TreeInBudSign, _LUNG, ("tree in bud", "tree in bud sign")),
    (Code("87433001", "SCT", "Pulmonary emphysema"), _LUNG, ("emphysema", "pulmonary emphysema")),
    (Code("12295008", "SCT", "Bronchiectasis"), _LUNG, ("bronchiectasis",)),
    (Code("46621007", "SCT", "Atelectasis"), _LUNG, ("atelectasis",)),
    (codes.SCT.Effusion, None, ("effusion",)),
    (codes.SCT.PleuralEffusion, _PLEURA, ("pleural effusion",)),
    (codes.SCT.Pneumothorax, _PLEURA, ("pneumothorax",)),
    (codes.SCT.PericardialEffusion, _PERICARDIUM, ("pericardial effusion",)),
)
for _code, _region, _names in _KNOWN:
    for _name in _names:
        register_segment_code(_name, _code.value, _code.scheme_designator, _code.meaning, _region)
