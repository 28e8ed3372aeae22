"""The palette, and figures as files and in pages."""

import base64
import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ctmasknet import figures
from ctmasknet.wording import NOTICE


def a_figure():
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([1, 2])
    return figure


def test_colours_as_numbers():
    assert figures.rgb("#e69f00") == (230, 159, 0)


@pytest.mark.parametrize("colour", [figures.lesion_colour, figures.line_colour])
def test_every_class_has_another_colour(colour):
    colours = np.array([figures.rgb(colour(index)) for index in range(255)], int)
    assert len(np.unique(colours, axis=0)) == 255
    first = colours[:8]
    apart = np.abs(first[:, None] - first[None]).sum(axis=-1)
    assert apart[~np.eye(8, dtype=bool)].min() > 60


def test_lesions_are_bright_and_lines_dark():
    lesions, lines = (
        np.array([figures.rgb(colour(index)) for index in range(3, 60)]) @ (0.3, 0.59, 0.11)
        for colour in (figures.lesion_colour, lambda index: figures.line_colour(index + 8))
    )
    assert lesions.min() > 100 > lines.min() and lines.max() < 160


def test_long_names_are_on_several_lines():
    assert figures.plain_lines("effusion") == "effusion"
    assert figures.plain_lines("costs 3 $ or more", 10) == "costs 3 \\$\nor more"


@pytest.mark.parametrize("foot", [NOTICE, "", "another line"])
def test_saved_whole_with_the_line_at_its_foot(tmp_path, foot):
    figure, path = a_figure(), tmp_path / "new" / "a.png"
    figures.save_figure(figure, path, foot)
    assert figure.get_supxlabel() == foot
    assert Image.open(path).size == (360, 240)
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]


def test_a_drawing_is_the_same_each_time_and_knows_no_date():
    uri = figures.figure_uri(a_figure())
    assert uri == figures.figure_uri(a_figure())
    kind, content = uri.split(",")
    assert kind == "data:image/svg+xml;base64" and b"<dc:date>" not in base64.b64decode(content)


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_a_picture_is_shrunk(kind):
    uri = figures.picture_uri(np.zeros((40, 80, 3), np.uint8), 20, kind, 80)
    head, content = uri.split(",")
    assert head == f"data:image/{kind};base64"
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    assert image.size == (20, 10) and image.format == kind.upper()
