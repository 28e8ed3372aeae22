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


def test_colours_as_numbers_and_again_when_they_are_used_up():
    assert figures.rgb("#e69f00") == (230, 159, 0)
    colours = [figures.lesion_colour(index) for index in range(4)]
    assert len(set(colours)) == 3 and colours[3] == colours[0]


@pytest.mark.parametrize("foot", [NOTICE, "", "another line"])
def test_saved_whole_with_the_line_at_its_foot(tmp_path, foot):
    figure, path = a_figure(), tmp_path / "new" / "a.png"
    figures.save_figure(figure, path, foot)
    assert figure.get_supxlabel() == foot
    assert Image.open(path).size == (360, 240)
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]


def test_a_drawing_is_the_same_each_time_and_knows_no_date():
    uri = figures.svg_uri(a_figure())
    assert uri == figures.svg_uri(a_figure())
    kind, content = uri.split(",")
    assert kind == "data:image/svg+xml;base64" and b"<dc:date>" not in base64.b64decode(content)


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_a_picture_is_shrunk(kind):
    uri = figures.picture_uri(np.zeros((40, 80, 3), np.uint8), 20, kind, 80)
    head, content = uri.split(",")
    assert head == f"data:image/{kind};base64"
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    assert image.size == (20, 10) and image.format == kind.upper()
