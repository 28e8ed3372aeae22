"""Classes, mask values and the CT window: the one place that states them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .mask_rule import ALL_CLASSES, BACKGROUND, PAPERS_CLASSES, MaskRule, check_lesion_names

IMAGE_CLASSES = ("Control", "Common Pneumonia", "COVID-19")  # index = label

SPLITS = ("train", "val", "test")

PHANTOM_MASK_TYPES = ("merge", "both")

# Components of at most this many pixels are background: better precision (Ter-Sarkisov 2020, the
# paper on lightweight models).
MIN_LESION_AREA = 100

# The window of the papers' slices, in HU: level - width/2 -> 0, level + width/2 -> 255.
WINDOW_WIDTH = 1500
WINDOW_LEVEL = -600


def label_numbers(classes: Sequence[str]) -> dict[str, int]:
    """Return what stands for each label in a list -> the label: its number and its class's name.

    A ValueError if a class is called as another one, or by the number of another one.
    """
    labels = {str(label): label for label in range(len(classes))}
    for label, name in enumerate(classes):
        if labels.setdefault(name, label) != label:
            raise ValueError(
                f"image classes {', '.join(classes)}: '{name}' stands for class {labels[name]}, "
                f"too, so class {label} needs another name"
            )
    return labels


@dataclass(frozen=True)
class MaskValues:
    """The meaning of a mask file's pixel values; 0 is always background."""

    # Value (1..255) -> the name of a lesion class, or "background" (e.g. lung). "lesion" is either
    # of GGO and C. Several values may have one name.
    names: Mapping[int, str]

    def __post_init__(self) -> None:
        for value, name in self.names.items():
            if not 1 <= value <= 255:
                raise ValueError(f"mask value {value}: expected 1 to 255 (0 is background)")
            if name != BACKGROUND:
                try:
                    check_lesion_names([name])
                except ValueError as error:
                    raise ValueError(f"mask value {value}: {error}") from None

    @classmethod
    def parse(cls, text: str) -> MaskValues:
        """Read "1=nodule,2=cavity,3=background"; ValueError when it is something else."""
        names: dict[int, str] = {}
        for item in text.split(","):
            value, _, name = (part.strip() for part in item.partition("="))
            if not (value.isdecimal() and name) or int(value) in names:
                raise ValueError(
                    f"mask values '{text}': cannot use '{item}', expected each value once, "
                    'as in "1=nodule,2=cavity,3=background"'
                )
            names[int(value)] = name
        return cls(names)

    @property
    def lesions(self) -> tuple[str, ...]:
        """The lesion classes, in the order of their lowest values."""
        named = (name for _, name in sorted(self.names.items()) if name != BACKGROUND)
        return tuple(dict.fromkeys(named))

    def classes(self, mask_type: str) -> tuple[str, ...]:
        """Return the classes that a mask type makes of these values; errors as `categories`."""
        return tuple(self._sources(mask_type))

    def categories(self, mask_type: str) -> dict[int, int]:
        """Map pixel values to category ids (0 background, k = k-th class) of a mask type.

        ValueError: a mask type that is no rule, or that these values cannot fill.
        """
        groups = enumerate(self._sources(mask_type).values(), start=1)
        ids = {name: k for k, made_of in groups for name in made_of}
        return {0: 0, **{value: ids.get(name, 0) for value, name in self.names.items()}}

    def _sources(self, mask_type: str) -> dict[str, tuple[str, ...]]:
        rule = MaskRule.parse(mask_type)
        if not self.lesions:
            raise ValueError("all mask values are background, expected a lesion class")
        return rule.apply(self.lesions)


def default_mask_type(values: MaskValues) -> str:
    """Return "merge", as in the papers, for their classes alone; "" keeps others as they are."""
    return "merge" if set(values.lesions) <= PAPERS_CLASSES else ALL_CLASSES


MASK_PRESETS = {
    "cncb": MaskValues({1: BACKGROUND, 2: "GGO", 3: "C"}),  # 1 = lung field
    "medseg": MaskValues({1: "GGO", 2: "C", 3: BACKGROUND}),  # 3 = pleural effusion
}
