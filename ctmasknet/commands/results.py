"""Read the results of `ctmasknet predict`: for --resume, one line each, and summary.csv."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from ..atomic_write import atomic_write
from ..csv_cells import write_rows
from ..pseudonyms import is_pseudonym
from ..quantification.lobes import LARGEST_SCORE
from ..report.case_files import RESULT
from ..wording import counted

SUMMARY = "summary.csv"
_MEASURES = ("instances", "lesions_3d", "volume_ml", "share_of_lung")


def read_result(folder: Path) -> dict[str, Any] | None:
    """Return the result.json of a folder; None if it has none of this version."""
    try:
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        result["problems"], result["quantities"]["lesions"], result["slices"][0]["class"]
        made_from(result["about"])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None
    return result


def with_identifiers(output: Path) -> list[Path]:
    """Return the folders of results in an output that are not called by pseudonyms."""
    folders = sorted(path.parent for path in output.glob(f"*/{RESULT}"))
    return [folder for folder in folders if not is_pseudonym(folder.name)]


def made_from(about: dict[str, Any]) -> tuple[Any, ...]:
    """Return what a result follows from: runs that agree in it give the same result."""
    models = [(model["sha256"], model["config_sha256"]) for model in about["models"]]
    return about["input_fingerprint"], about["settings"], models


def describe_result(result: dict[str, Any]) -> str:
    """Put a result.json into one line."""
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
    if result["quantities"].get("lobes"):
        parts.append(f"CT score {result['quantities']['ct_score']} of {LARGEST_SCORE}")
    return f"{result['name']}: {', '.join(parts)}"


def write_summary(output: Path) -> None:
    """Write summary.csv, a line for each result in a folder; nothing if there is none."""
    found = (read_result(path.parent) for path in sorted(output.glob(f"*/{RESULT}")))
    rows = [_columns(result) for result in found if result is not None]
    if not rows:
        return
    # Results may differ in their classes: columns of a kind stand together.
    head = list(dict.fromkeys(name for kind in zip(*rows, strict=True) for x in kind for name in x))
    with (
        atomic_write(output / SUMMARY) as partial,
        partial.open("w", newline="", encoding="utf-8") as stream,
    ):
        lines = ({name: x for kind in row for name, x in kind.items()} for row in rows)
        write_rows(stream, [head, *([line.get(name) for name in head] for line in lines)])


def _columns(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the columns of a result by kind: the input, probabilities, lesions, the lung."""
    quantities = result["quantities"]
    probabilities = result.get("probabilities") or {}
    return [
        {key: result[key] for key in ("name", "input", "kind")}
        | {"slices": len(result["slices"]), "class": result.get("class")},
        {f"p_{name}": value for name, value in probabilities.items()},
        {
            f"{measure}_{name}": found.get(measure)
            for name, found in quantities["lesions"].items()
            for measure in _MEASURES
        },
        {key: quantities[key] for key in ("lung_volume_ml", "severity")},
        _lobe_columns(quantities.get("lobes") or {}, quantities.get("ct_score")),
    ]


def _lobe_columns(lobes: dict[str, Any], ct_score: int | None) -> dict[str, Any]:
    if not lobes:
        return {}
    shares = {
        f"share_of_{name.replace(' ', '_')}_lobe": list(found["share_of_lobe"].values())[-1]
        for name, found in lobes.items()
    }
    return {**shares, "ct_score": ct_score}
