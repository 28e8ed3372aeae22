"""Charts of a report, each with a text that says what is seen."""

from collections.abc import Sequence

import numpy as np

from ..figures import BLACK, BLUE, GREEN, VERMILION, lesion_colour, rgb, svg_uri
from ..inference.predictions import RankedBoxTable
from ..quantification.case import Case
from ..wording import counted, percent
from .charts import Axis, Panel, legend, log_steps, page, steps
from .report_figures import Picture

TOP = 16  # boxes that the paper shows beside all of them
_WIDTH, _HEIGHT, _GAP, _EDGE = 400.0, 150.0, 26.0, 14.0  # pixels: legible on a phone, too
_CLASS_COLOURS = (BLUE, VERMILION, GREEN, BLACK)
_DASHES = ("", "7 3", "7 3 2 3", "2 3")
_FEW_SLICES = 40  # up to so many, each gets a dot
_BINS = np.linspace(0, 1, 21)


def score_figure(ranked: RankedBoxTable, lesion_classes: Sequence[str]) -> Picture:
    """Draw the papers' Figure 3 of one ranked box or more: of the best 16 and of all.

    Source: Ter-Sarkisov 2020, the paper on lightweight models.
    """
    scores = ranked.scores
    alt = (
        f"Scores of {len(scores)} ranked boxes: highest {scores.max():.2f}, median "
        f"{np.median(scores):.2f}, {(scores >= 0.5).sum()} of 0.5 or more; and scores over the "
        "areas of the boxes."
    )
    names = [x for x in dict.fromkeys([*lesion_classes, *ranked.lesion_classes])]
    colours = {name: lesion_colour(i) for i, name in enumerate(names)}
    found = [(name, colours[name], "") for name in names if name in ranked.lesion_classes]
    key, top = legend(found, _WIDTH) if len(found) > 1 else ("", 0.0)
    parts = [f'<g transform="translate({_EDGE} 6)">{key}</g>']
    top += 6.0
    count = len(ranked.boxes)
    rows = []
    for what, shown in [("top", TOP)] * (count > TOP) + [("all", count)]:
        of = f"{what} {counted(shown, 'box')}"
        histogram = _score_histogram(scores[:shown], of)
        rows.append((histogram, _score_over_area(ranked, shown, colours, of)))
    margins = [max(panel.margin for panel in column) for column in zip(*rows, strict=True)]
    for row in rows:
        left = 0.0
        for panel, margin in zip(row, margins, strict=True):
            parts.append(panel.svg(left + margin, top + _GAP))
            left += margin + panel.width + _EDGE
        top += _GAP + _HEIGHT + row[0].foot
    return Picture(svg_uri(page(parts, left, top)), alt)


def _score_histogram(scores: np.ndarray, of: str) -> Panel:
    counts = np.histogram(scores, _BINS)[0]
    highest = max(int(counts.max()), 1)
    y = Axis(0, 1.05 * highest, "boxes", steps(0, highest, whole=True))
    panel = Panel(Axis(0, 1, "score", (0, 0.5, 1)), y, 130, _HEIGHT, f"scores, {of}")
    panel.bars(_BINS.tolist(), counts.tolist(), BLUE)
    return panel


def _score_over_area(ranked: RankedBoxTable, shown: int, colours: dict[str, str], of: str) -> Panel:
    x0, y0, x1, y1 = ranked.boxes.T
    # Boxes clipped at the slice's border may have no area, which a logarithm cannot show.
    areas = np.maximum((x1 - x0) * (y1 - y0), 1)
    low, high = float(areas.min()) / 1.3, float(areas.max()) * 1.3  # of all, for both panels
    ticks = log_steps(low, high, 4) or [float(areas.max())]
    x = Axis(low, high, "area of the box (px)", ticks, "{:,.0f}".format, log=True)
    panel = Panel(x, Axis(-0.03, 1.03, "score", (0, 0.5, 1)), 160, _HEIGHT, of)
    for name, colour in colours.items():
        own = [i for i in range(shown) if ranked.lesion_classes[i] == name]
        panel.dots(areas[own].tolist(), ranked.scores[own].tolist(), colour, 3, BLACK)
    return panel


def scan_chart(case: Case, marked: Sequence[int]) -> Picture | None:
    """Chart probabilities and lesion areas along a scan, with marks at the indices given.

    None where there is nothing to draw: loose slices, one slice, neither classes nor masks.
    """
    if case.scan is None or len(case.slices) < 2:
        return None
    drawn = [_probabilities(case)] if case.scan.probabilities is not None else []
    drawn += [_areas(case)] if case.quantities.areas_px is not None else []
    if not drawn:
        return None
    left = max(panel.margin for panel, _, _ in drawn)
    parts, top = [], 6.0
    for panel, names, _ in drawn:
        key, height = legend(names, _WIDTH)
        parts.append(f'<g transform="translate({left} {top})">{key}</g>')
        panel.marks(marked)
        parts.append(panel.svg(left, top + height + 8))
        top += height + 8 + panel.height + panel.foot
    texts = " ".join(text for _, _, text in drawn)
    picture = page(parts, left + _WIDTH + _EDGE, top)
    return Picture(svg_uri(picture), f"Along {len(case.slices)} slices. {texts}")


def _along(case: Case) -> Axis:
    """The x axis of a scan's charts."""
    assert case.scan is not None
    last, spacing = len(case.slices) - 1, case.scan.spacing
    label = "slice, 0 is the lowest" + (" (mm from it below)" if spacing else "")
    return Axis(
        -0.01 * last,
        1.01 * last,
        label,
        steps(0, last, whole=True),
        lambda x: f"{x:.0f}" + (f"\n{x * spacing[0]:.0f} mm" if spacing else ""),
    )


_Drawn = tuple[Panel, list[tuple[str, str, str]], str]  # with its legend and what is seen


def _probabilities(case: Case) -> _Drawn:
    """Draw the slices' class probabilities."""
    assert case.scan is not None and case.scan.classification is not None
    values = case.scan.probabilities
    assert values is not None
    names, own = case.scan.classification.class_names, case.scan.classification.image_class
    y = Axis(0, 1.03, "probability", (0, 0.25, 0.5, 0.75, 1), "{:.0%}".format)
    panel = Panel(_along(case), y, _WIDTH, _HEIGHT)
    keys, texts = [], []
    for index, (name, line) in enumerate(zip(names, values.T, strict=True)):
        colour = _CLASS_COLOURS[index % len(_CLASS_COLOURS)]
        keys.append(_plot(panel, line, index, name, colour, 2.4 if name == own else 1.4))
        texts.append(
            f"{name} {percent(np.nanmean(line))} on average, at most {percent(np.nanmax(line))} on "
            f"slice {np.nanargmax(line)}"
        )
    return panel, keys, f"Probabilities: {'; '.join(texts)}."


def _areas(case: Case) -> _Drawn:
    """Draw the slices' lesion areas."""
    quantities = case.quantities
    assert quantities.areas_px is not None
    known = np.isfinite(quantities.pixel_mm2).all()
    unit = "mm²" if known else "px"
    areas = quantities.areas_px * (quantities.pixel_mm2[:, np.newaxis] if known else 1)
    names = case.slices[0].lesion_classes
    highest = float(areas[:, : len(names)].max())
    y = Axis(0, 1.03 * highest or 1, f"lesion area ({unit})", steps(0, highest), "{:,g}".format)
    panel = Panel(_along(case), y, _WIDTH, _HEIGHT)
    keys, texts = [], []
    for index, name in enumerate(names):
        line, colour = areas[:, index].astype(float), lesion_colour(index)  # as in the pictures
        panel.area(range(len(line)), line.tolist(), colour)
        # The pictures' colours are too pale for a line on white.
        dark = "#{:02x}{:02x}{:02x}".format(*(round(0.6 * x) for x in rgb(colour)))
        keys.append(_plot(panel, line, index, name, dark, 1.8))
        texts.append(
            f"{name} on {counted(int(np.count_nonzero(line)), 'slice')}"
            + (f", at most {line.max():,.0f} {unit} on slice {line.argmax()}" if line.any() else "")
        )
    if not areas.any():
        panel.words("no lesion found")
    return panel, keys, f"Lesion areas: {'; '.join(texts)}."


def _plot(
    panel: Panel, line: np.ndarray, index: int, name: str, colour: str, width: float
) -> tuple[str, str, str]:
    """Plot a class in the dashes of its index, and return its entry in the legend."""
    dashes, values = _DASHES[index % len(_DASHES)], line.tolist()
    panel.line(range(len(values)), values, colour, width, dashes)
    if len(values) <= _FEW_SLICES:
        panel.dots(range(len(values)), values, colour, 2.5)
    return name, colour, dashes
