"""Classes, mask values and the CT window: the one place that states them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

IMAGE_CLASSES = ("Control", "Common Pneumonia", "COVID-19")  # index = label

SPLITS = ("train", "val", "test")

# Mask type -> lesion classes; COCO category id = index + 1. The papers train all three types.
LESION_CLASSES = {"both": ("GGO", "C"), "merge": ("lesion",), "ggo": ("GGO",)}
PHANTOM_MASK_TYPES = ("merge", "both")

# Components of at most this many pixels are background: better precision (Ter-Sarkisov 2020, the
# paper on lightweight models).
MIN_LESION_AREA = 100

# The window of the papers' slices, in HU: level - width/2 -> 0, level + width/2 -> 255.
WINDOW_WIDTH = 1500
WINDOW_LEVEL = -600

BACKGROUND = "background"
_VALUE_NAMES = ("GGO", "C", "lesion", BACKGROUND)  # "lesion": either of GGO and C


def lesion_classes(mask_type: str) -> tuple[str, ...]:
    """Return the lesion classes of a mask type; ValueError when it is unknown."""
    if mask_type not in LESION_CLASSES:
        raise ValueError(f"mask type '{mask_type}': expected one of {', '.join(LESION_CLASSES)}")
    return LESION_CLASSES[mask_type]


@dataclass(frozen=True)
class MaskValues:
    """The meaning of a mask file's pixel values; 0 is always background."""

    names: Mapping[int, str]  # value (1..255) -> "GGO", "C", "lesion" or "background" (e.g. lung)

    def __post_init__(self) -> None:
        for value, name in self.names.items():
            if not 1 <= value <= 255:
                raise ValueError(f"mask value {value}: expected 1 to 255 (0 is background)")
            if name not in _VALUE_NAMES:
                valid = ", ".join(_VALUE_NAMES)
                raise ValueError(f"mask value {value} is called '{name}', expected one of {valid}")

    @classmethod
    def parse(cls, text: str) -> MaskValues:
        """Read "1=GGO,2=C,3=background"; ValueError when it is something else."""
        names: dict[int, str] = {}
        for item in text.split(","):
            value, _, name = (part.strip() for part in item.partition("="))
            if not (value.isdecimal() and name) or int(value) in names:
                raise ValueError(
                    f"mask values '{text}': cannot use '{item}', expected each value once, "
                    'as in "1=GGO,2=C,3=background"'
                )
            names[int(value)] = name
        return cls(names)

    def categories(self, mask_type: str) -> dict[int, int]:
        """Map pixel values to category ids (0 background, k = k-th class) of a mask type.

        ValueError: unknown mask type, or a value named "lesion" where GGO and C are told apart.
        """
        classes = lesion_classes(mask_type)
        if mask_type != "merge" and "lesion" in self.names.values():
            raise ValueError(
                f"mask type '{mask_type}' tells GGO from C, but the masks have one value for "
                "'lesion': use mask type 'merge'"
            )
        ids = {0: 0}
        for value, name in self.names.items():
            merged = "lesion" if mask_type == "merge" and name != BACKGROUND else name
            ids[value] = classes.index(merged) + 1 if merged in classes else 0
        return ids


MASK_PRESETS = {
    "cncb": MaskValues({1: BACKGROUND, 2: "GGO", 3: "C"}),  # 1 = lung field
    "medseg": MaskValues({1: "GGO", 2: "C", 3: BACKGROUND}),  # 3 = pleural effusion
}
