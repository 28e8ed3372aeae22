"""An audit as audit.json and as audit.html."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .. import __version__
from ..atomic_write import atomic_write
from ..report.html_pages import render
from ..wording import NOTICE
from . import figures
from .findings import LEAKS, PROBLEMS, by_kind, verdict
from .images import HASH_SIDE
from .near_duplicates import NEAR_CORRELATION
from .run import Audit
from .text import EXAMPLES, association_words, count_rows, lesion_rows, position_words, sample_words

_TEMPLATE = Path(__file__).with_name("report.html.jinja")
_PICTURED_PAIRS = 6
_PACKAGES = ("ImageHash", "numpy", "Pillow", "scipy")


def write_report(audit: Audit, output: Path, command: str) -> None:
    """Write audit.json and audit.html, each whole or not at all.

    Args:
        output: folder, made if it is missing.
        command: what was run.

    Raises:
        OSError: the folder cannot be written to.
    """
    output.mkdir(parents=True, exist_ok=True)
    report = as_json(audit, command)
    pages = {"audit.json": json.dumps(report, indent=1, ensure_ascii=False) + "\n"}
    pages["audit.html"] = as_html(audit, report)
    for name, text in pages.items():
        with atomic_write(output / name) as partial:
            partial.write_text(text, encoding="utf-8")


def as_json(audit: Audit, command: str) -> dict[str, Any]:
    """Return the audit in plain types; docs/audit.md describes the keys."""
    return {
        "verdict": verdict(audit.findings),
        "leak_count": sum(finding.kind in LEAKS for finding in audit.findings),
        "problem_count": sum(finding.kind in PROBLEMS for finding in audit.findings),
        "splits": [
            {
                "name": split.name,
                "origin": split.origin,
                "kind": "lesions" if split.of_lesions else "images",
                "classes": list(split.classes),
                "has_images": split.has_images,
            }
            for split in audit.splits
        ],
        "counts": audit.counts,
        "leaks": _groups(audit, LEAKS),
        "problems": _groups(audit, PROBLEMS),
        "lesions": audit.lesions,
        "sizes": {
            name: [
                {"height": size[0], "width": size[1], "slices": count}
                for size, count in sizes.most_common()
            ]
            for name, sizes in audit.sizes.items()
        },
        "source": audit.source,
        "position": audit.position,
        "sample": audit.sample,
        "not_checked": audit.not_checked,
        "near_duplicates": {
            "hash": f"ImageHash phash, {HASH_SIDE**2} bits",
            "max_bits": audit.max_bits,
            "min_correlation": NEAR_CORRELATION,
        },
        "versions": {
            "ctmasknet": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in _PACKAGES},
        },
        "command": command,
        "notice": NOTICE,
    }


def as_html(audit: Audit, report: dict[str, Any]) -> str:
    """Return the audit as one page without links to other files; `report` is of `as_json`."""
    lesion_splits = [split for split in audit.splits if split.of_lesions]
    source, position = audit.source, audit.position
    return render(
        _TEMPLATE,
        report=report,
        examples=EXAMPLES,
        count_rows=count_rows(audit),
        lesion_rows=lesion_rows(audit),
        pairs=_pictured_pairs(audit),
        lesion_figures=figures.lesion_figures(lesion_splits) if lesion_splits else (),
        position_figure=figures.position_figure(position) if position else "",
        source_words=association_words(source) if source else "",
        position_words=position_words(position) if position else "",
        position_v=association_words(position) if position else "",
        sample_words=sample_words(audit.sample) if audit.sample else "",
    )


def _groups(audit: Audit, kinds: dict[str, str]) -> list[dict[str, Any]]:
    groups = []
    for kind, found in by_kind(audit.findings, kinds).items():
        items = [{"splits": f.splits, "message": f.message, "images": f.images} for f in found]
        groups.append({"kind": kind, "title": kinds[kind], "count": len(items), "items": items})
    return groups


def _pictured_pairs(audit: Audit) -> list[tuple[str, list[tuple[str, str]]]]:
    """(how they are alike, (file, picture) of both) of some images that are in two splits."""
    pairs: list[tuple[str, list[tuple[str, str]]]] = []
    for kind in ("near_image", "identical_image"):
        for finding in audit.findings:
            if finding.kind == kind and len(pairs) < _PICTURED_PAIRS:
                pictures = [(path, figures.picture(path)) for path in finding.images]
                if all(uri for _, uri in pictures):
                    pairs.append((finding.message, pictures))
    return pairs
