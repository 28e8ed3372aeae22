"""An audit written out: audit.json, audit.html, and text for the terminal."""

import json
import os
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tabulate import tabulate

from .. import __version__
from ..atomic_write import atomic_files
from ..report.html_pages import render
from ..wording import NOTICE
from . import figures
from .confounding import POSITION_NOTE, Association, Position
from .findings import LEAKS, PROBLEMS, Finding, by_kind, verdict
from .images import HASH_SIDE
from .near_duplicates import NEAR_CORRELATION
from .run import Audit

EXAMPLES = 5  # of each kind in text and page; audit.json has them all
_TEMPLATE = Path(__file__).with_name("report.html.jinja")
_PICTURED_PAIRS = 6
_PACKAGES = ("ImageHash", "numpy", "Pillow", "scipy")


def write_report(audit: Audit, output: Path, command: str, keep_folders: bool = False) -> None:
    """Write audit.json and audit.html to a folder, both or none; `command` was run.

    Of absolute paths the name of the file and of its folder stay, unless `keep_folders`.
    """
    report = as_json(audit, command)
    pages = {"audit.json": json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"}
    pages["audit.html"] = as_html(audit, report)
    if not keep_folders:
        pages = _without_folders(pages, audit)
    with atomic_files(output, last="audit.json") as partial:
        for name, text in pages.items():
            (partial / name).write_text(text, encoding="utf-8")


def _without_folders(pages: dict[str, str], audit: Audit) -> dict[str, str]:
    """Leave the last folder alone of absolute paths of images, masks and lists."""
    from markupsafe import escape  # as Jinja does

    given = [part for split in audit.splits for part in (split.origin, *split.origin.split(","))]
    named = (re.split(": |, line", finding.message)[0] for finding in audit.findings)
    given += filter(os.path.exists, named)  # of masks and lists; others begin otherwise
    files = [*given, *(item.path for split in audit.splits for item in split.slices)]
    folders = {os.path.dirname(path) for path in files} | set(filter(os.path.isdir, given))
    text, page = pages["audit.json"], pages["audit.html"]
    for folder in sorted(filter(os.path.isabs, folders), key=len, reverse=True):
        whole, rest = f"{folder}{os.sep}", f"{os.path.basename(folder)}{os.sep}"
        text = text.replace(_in_json(whole), _in_json(rest))
        page = page.replace(escape(whole), escape(rest))
    return {"audit.json": text, "audit.html": page}


def _in_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


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
        "notes": audit.notes,
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


def as_text(audit: Audit) -> str:
    """Return the audit for the terminal: tables, and a few examples of each kind of finding."""
    gaps = "; not all was checked, see below" if audit.not_checked else ""
    parts = [f"{verdict(audit.findings)}{gaps}"]
    parts.append(tabulate(count_rows(audit), headers="keys", intfmt=","))
    if audit.lesions:
        parts.append(tabulate(lesion_rows(audit), headers="keys", intfmt=","))
    for title, kinds in (("Leaks", LEAKS), ("Problems", PROBLEMS)):
        parts.append(_findings_text(title, audit.findings, kinds))
    if audit.sample:
        parts.append(sample_words(audit.sample))
    for title, association in (("source", audit.source), ("position", audit.position)):
        if association and association["rows"]:
            headers = [f"{title} x label", *association["columns"]]
            named = zip(association["rows"], association["table"], strict=True)
            rows = [[name, *counts] for name, counts in named]
            parts.append(f"{association_words(association)}\n{tabulate(rows, headers, intfmt=',')}")
    if audit.position:
        parts.append(position_words(audit.position))
    for title, lines in (("Notes", audit.notes), ("Not checked", audit.not_checked)):
        if lines:
            parts.append("\n".join([f"{title}:", *(f"  {line}" for line in lines)]))
    return "\n\n".join([*filter(None, parts), NOTICE])


def association_words(association: Association) -> str:
    """Say in a sentence what Cramér's V is and means."""
    value = association["cramers_v"]
    words = association["words"]
    words = f"Cramér's V: {words}" if value is None else f"Cramér's V {value:.2f}: {words}"
    return f"{words}; {association['left_out']}" if association["left_out"] else words


def position_words(position: Position) -> str:
    """Say how well the position alone predicts the label, and why."""
    note = POSITION_NOTE if position["of_covidx"] else ""
    if position["accuracy"] is None or position["base_rate"] is None:
        return note
    first, last = position["learned_on"], position["tried_on"]
    return (
        f"Learned on {first}, position alone guesses {position['accuracy']:.1%} of {last}'s "
        f"labels; the most frequent class of {first} is {position['base_rate']:.1%} of them. {note}"
    ).strip()


def sample_words(sample: dict[str, Any]) -> str:
    """Say in which splits the names of the sample are."""
    classes = ", ".join(f"{count:,} {name}" for name, count in sample["classes"].items())
    homes = ", ".join(f"{count:,} in {name}" for name, count in sample["in_splits"].items())
    return (
        f"Sample of {sample['names']:,} names ({classes}; {sample['patients']:,} patients): "
        f"{homes}, {sample['in_none']:,} in none"
    )


def count_rows(audit: Audit) -> list[dict[str, Any]]:
    """Return the table of counts; "-" where a split names no scan or patient."""
    names = {"label": "class"}
    return [
        {names.get(key, key): "-" if value is None else value for key, value in row.items()}
        for row in audit.counts
    ]


def lesion_rows(audit: Audit) -> list[dict[str, Any]]:
    """Return the table of lesions, with quartiles of their share of the image."""
    rows = []
    for row in audit.lesions:
        shares = row["area_share"]
        quartiles = " / ".join(f"{share:.2%}" for share in shares[1:4]) if shares else "-"
        rows.append(
            {
                "split": row["split"],
                "lesion": row["label"],
                "lesions": row["lesions"],
                "slices": row["slices"],
                "lesion-free": row["lesion_free"],
                "most in a slice": row["most_in_a_slice"],
                "area, quartiles": quartiles,
            }
        )
    return rows


def _groups(audit: Audit, kinds: dict[str, str]) -> list[dict[str, Any]]:
    groups = []
    for kind, found in by_kind(audit.findings, kinds).items():
        items = [{"splits": f.splits, "message": f.message, "images": f.images} for f in found]
        groups.append({"kind": kind, "title": kinds[kind], "count": len(items), "items": items})
    return groups


def _pictured_pairs(audit: Audit) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return a few pairs of images in two splits: how they are alike, (file, picture) of both."""
    pairs: list[tuple[str, list[tuple[str, str]]]] = []
    for kind in ("near_image", "identical_image"):
        for finding in audit.findings:
            if finding.kind == kind and len(pairs) < _PICTURED_PAIRS:
                pictures = [(path, figures.picture(path)) for path in finding.images]
                if all(uri for _, uri in pictures):
                    pairs.append((finding.message, pictures))
    return pairs


def _findings_text(title: str, findings: list[Finding], kinds: dict[str, str]) -> str:
    lines = []
    for kind, found in by_kind(findings, kinds).items():
        lines.append(f"  {kinds[kind]}: {len(found):,}")
        lines += [f"    {finding.message}" for finding in found[:EXAMPLES]]
        if len(found) > EXAMPLES:
            lines.append(f"    and {len(found) - EXAMPLES:,} more in audit.json")
    return "\n".join([f"{title}:", *lines]) if lines else f"{title}: none"
