"""Which lesion classes a model tells apart: some are kept, some merged, others background."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..wording import same_but_for_spelling

# The papers' mask types. A segmentation of COVID-19 has ground glass opacity and consolidation (C).
PAPERS_RULES = {"both": "GGO,C", "merge": "lesion=*", "ggo": "GGO"}
ALL_CLASSES = ""  # the mask type that keeps classes as they are
BACKGROUND = "background"
LESION = "lesion"  # either of GGO and C, where a data set does not tell
PAPERS_CLASSES = frozenset({"GGO", "C", LESION})
MAX_NAME = 64  # characters; DICOM's segment labels hold no more
_ALL = "*"
_RESERVED = ",=+*\\"  # of rules, and of DICOM's values


def check_lesion_names(names: Sequence[str]) -> None:
    """Raise a ValueError unless the names of lesion classes can be used everywhere.

    They are in rules, tables, CSV files, label maps and DICOM: 1 to 64 printable characters, none
    of `,=+*` or a backslash, no space at the ends, each name once, in one way of writing, and not
    "background".
    """
    for name in names:
        if not isinstance(name, str) or not name or name != name.strip() or len(name) > MAX_NAME:
            wrong = f"expected 1 to {MAX_NAME} characters without a space at the ends"
        elif not name.isprintable() or set(name) & set(_RESERVED):
            wrong = f"expected printable characters without any of {' '.join(_RESERVED)}"
        elif name == BACKGROUND:
            wrong = "the name of what is no lesion"
        elif list(names).count(name) > 1:
            wrong = "found more than once"
        else:
            continue
        raise ValueError(f"lesion class {name!r}: {wrong}")
    if twins := same_but_for_spelling(names):
        raise ValueError(
            f"found the lesion classes {' and '.join(twins)}, which may be one: write it in one way"
        )
    if not names:
        raise ValueError("found no lesion class, expected the name of one or more")


@dataclass(frozen=True)
class MaskRule:
    """The classes to keep, in the order of a model's indices; all others are background.

    Attributes:
        text: the rule as it is written in INPUT.MASK_TYPE.
        sources: class -> the classes it is made of, ("*",) for all of them. Empty: all classes
            stay as they are.
    """

    text: str
    sources: Mapping[str, tuple[str, ...]]

    @classmethod
    def parse(cls, text: str) -> MaskRule:
        """Read a rule.

        Args:
            text: "nodule,effusion" keeps these two; "opacity=GGO+C,effusion" makes one class of GGO
                and C; "lesion=*" makes one of all; "both", "merge" and "ggo" are the papers' names
                for "GGO,C", "lesion=*" and "GGO", "merge" of GGO, C and lesion alone; "" keeps all
                classes as they are.

        Raises:
            ValueError: something else, a class named twice, or a name that cannot be used.
        """
        items = PAPERS_RULES.get(text, text).split(",") if text else []
        names, groups = [], []
        for item in items:
            name, equals, made_of = (part.strip() for part in item.partition("="))
            names.append(name)
            groups.append(tuple(x.strip() for x in made_of.split("+")) if equals else (name,))
        used = [source for group in groups for source in group]
        try:
            if items:
                check_lesion_names(names)
                check_lesion_names(used if used != [_ALL] else names)
        except ValueError as error:
            raise ValueError(
                f"mask type '{text}': {error}; write a rule such as 'nodule,effusion', "
                f"'opacity=GGO+C,effusion' or 'lesion=*', or one of {', '.join(PAPERS_RULES)}"
            ) from None
        return cls(text, dict(zip(names, groups, strict=True)))

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes that are kept; () where the data set decides."""
        return tuple(self.sources)

    def apply(self, found: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return class -> the classes of a data set that it is made of, in the rule's order.

        Args:
            found: the names of the data set's classes, in its order.

        Raises:
            ValueError: the data set lacks a class of the rule, has "lesion" where the rule takes
                GGO or C without it, or has classes that "merge" is not for.
        """
        if self.text == "merge" and not PAPERS_CLASSES.issuperset(found):
            raise ValueError(
                f"mask type 'merge' is for GGO, C and {LESION}, but found {', '.join(found)}; "
                f"write '' and MODEL.ROI_HEADS.NUM_CLASSES {len(found)} to keep them, or "
                "'lesion=*' to merge them"
            )
        used = {source for group in self.sources.values() for source in group}
        if not used:
            return {name: (name,) for name in found}
        if used == {_ALL}:
            return {self.classes[0]: tuple(found)}
        if LESION in set(found) - used and used & {"GGO", "C"}:
            raise ValueError(
                f"mask type '{self.text}' leaves out '{LESION}' (of {', '.join(found)}), which is "
                "either of GGO and C: take together what cannot be told apart, as in '"
                f"{LESION}={'+'.join(name for name in found if name in PAPERS_CLASSES)}'"
            )
        for name in sorted(used - set(found)):
            lower = {known.lower(): known for known in found}
            (near,) = difflib.get_close_matches(name.lower(), lower, 1, 0.0)
            raise ValueError(
                f"mask type '{self.text}' asks for the class '{name}', but found "
                f"{', '.join(found)}, the nearest is '{lower[near]}'; name classes that are there "
                f"('' keeps all), or take one of {', '.join(PAPERS_RULES)}"
            )
        return dict(self.sources)
