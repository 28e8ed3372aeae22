"""An audit in words and tables, for the terminal."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from ..wording import NOTICE
from .confounding import POSITION_NOTE, Association, Position
from .findings import LEAKS, PROBLEMS, Finding, by_kind, verdict
from .run import Audit

EXAMPLES = 5  # of each kind in text and page; audit.json has them all


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
    if audit.not_checked:
        parts.append("\n".join(["Not checked:", *(f"  {note}" for note in audit.not_checked)]))
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


def _findings_text(title: str, findings: list[Finding], kinds: dict[str, str]) -> str:
    lines = []
    for kind, found in by_kind(findings, kinds).items():
        lines.append(f"  {kinds[kind]}: {len(found):,}")
        lines += [f"    {finding.message}" for finding in found[:EXAMPLES]]
        if len(found) > EXAMPLES:
            lines.append(f"    and {len(found) - EXAMPLES:,} more in audit.json")
    return "\n".join([f"{title}:", *lines]) if lines else f"{title}: none"
