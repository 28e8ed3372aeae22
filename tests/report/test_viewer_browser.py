"""The scan in a report: what a browser makes of it, driven as by a reader."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from report_cases import SIDE
from viewer_case import a_case

from ctmasknet.data.window import WINDOWS
from ctmasknet.figures import lesion_colour, rgb
from ctmasknet.quantification.case import KeySlice
from ctmasknet.report.overlay import draw_instances
from ctmasknet.report.report import as_html

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)

DRIVE = Path(__file__).with_name("drive_viewer.js").read_text(encoding="utf-8")


def browse(page, folder):
    """Open a page from disk; return what is left of it, and the messages of its console."""
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [f"--user-data-dir={folder / 'profile'}", "--window-size=1200,900"]
    command += ["--virtual-time-budget=20000", "--dump-dom", path.as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stdout, [line for line in run.stderr.splitlines() if "CONSOLE" in line]


def driven(page, script):
    """A page in which a script of the test may run, too."""
    page = re.sub(r"script-src [^\"]*(?=\")", "script-src 'unsafe-inline'", page, count=1)
    return page.replace("</body>", f"<script>{script}</script></body>")


pytestmark = [
    pytest.mark.slow,  # whole networks, commands or data sets
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    page = as_html(a_case(), [KeySlice(3, a_case().volume.slice(3), None)])
    left, messages = browse(driven(page, DRIVE), tmp_path_factory.mktemp("browser"))
    result = re.search(r'<pre id="result">(.*)</pre>', left, re.S)
    assert result, (messages, left[-500:])
    return {**json.loads(html.unescape(result[1])), "messages": messages}


def pixels(one):
    return np.array(one["pixels"], np.uint8).reshape(SIDE, SIDE, 3)


def test_the_page_as_it_is_shows_the_scan_and_says_nothing_on_the_console(tmp_path):
    left, messages = browse(as_html(a_case(), []), tmp_path)
    assert messages == []
    assert re.search(r'<section id="viewer">', left)
    assert 'data-drawn="3"' in left and "Slice 3 of 0 to 11, 6 mm above the lowest." in left


def test_keys_wheel_slider_buttons_and_fingers_turn_slices(seen):
    assert seen["messages"] == [] and seen["hidden"] is False
    places = {name: one["drawn"] for name, one in seen.items() if isinstance(one, dict)}
    assert places["start"] == places["outlines on"] == 3
    assert [places[x] for x in ("up", "down", "end", "beyond")] == [4, 3, 11, 11]
    assert [places[x] for x in ("page down", "home")] == [1, 0]
    assert [places[x] for x in ("wheel before a click", "wheel up", "touchpad")] == [0, 1, 3]
    assert [places[x] for x in ("slider", "higher", "drag")] == [6, 7, 9]
    assert all(one["slider"] == one["drawn"] for one in seen.values() if isinstance(one, dict))


def test_what_is_drawn_is_the_slice_under_the_window(seen):
    for name, window in (("outlines off", "lung"), ("mediastinum", None), ("bone", None)):
        expected = a_case().volume.slice(3, WINDOWS[window or name])
        off = np.abs(pixels(seen[name]).astype(int) - expected)
        assert off.max() <= 5, name  # 3.5 HU are 2.6 grey values of 350 HU


def test_outlines_lie_where_the_key_slice_has_them(seen):
    case, black = a_case(), np.zeros((SIDE, SIDE, 3), np.uint8)
    drawn = draw_instances(black, case.slices[3].instances, ("GGO", "C"), labels=[])
    # The overlay is enlarged by 8, and its boxes are drawn, too: the masks tell.
    assert drawn.shape[0] == 8 * SIDE
    on, off = pixels(seen["outlines on"]), pixels(seen["outlines off"])
    changed = (on != off).any(axis=-1)
    expected = np.zeros_like(changed)
    for index, lesion in enumerate(case.slices[3].instances):
        mask = np.pad(lesion.mask, 1)
        inner = mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
        edge = lesion.mask & ~inner
        expected |= edge
        assert (on[edge] == rgb(lesion_colour(index))).all()
        # The overlay's outline is the outer part of the same pixels.
        enlarged = edge.repeat(8, 0).repeat(8, 1)
        outline = (drawn == rgb(lesion_colour(index))).all(axis=-1)
        inside = lesion.mask.repeat(8, 0).repeat(8, 1)
        assert (outline & inside & ~enlarged).sum() == 0 and (outline & enlarged).any()
    assert (changed == expected).all()


def test_a_line_of_the_table_leads_to_its_slice_and_marks_the_lesion(seen):
    assert len(seen["links"]) == 3 and all(seen["links"])
    assert seen["jump"]["drawn"] == 7 and seen["focused"] == "slice-screen"
    assert seen["jump"]["words"] == "Slice 7 of 0 to 11, 14 mm above the lowest. Lesions: GGO 0.50."
    shown = pixels(seen["jump"])
    white = np.argwhere((shown == 255).all(axis=-1) & (np.arange(SIDE)[:, None] < 32))
    assert white.min(axis=0).tolist() == [30 - 7, 30 - 7]
    assert seen["wide"] <= 0


def test_a_phone_shows_it_without_scrolling_to_the_side(tmp_path):
    """Windows of the browser are 500 pixels wide or more; a frame in one may be narrower."""
    tell = """const tools = [...document.querySelectorAll(".tools > *")];
    onload = () => setTimeout(() => parent.postMessage({
        over: document.documentElement.scrollWidth - innerWidth,
        picture: document.getElementById("slice-picture").getBoundingClientRect().width,
        lowest: Math.min(...tools.map((x) => x.offsetHeight)),
    }, "*"), 300);"""
    (tmp_path / "inner.html").write_text(driven(as_html(a_case(), []), tell), encoding="utf-8")
    frame = """<iframe src="inner.html" style="width: 390px; height: 800px; border: 0"></iframe>
        <pre></pre><script>onmessage = (event) => {
          document.querySelector("pre").textContent = JSON.stringify(event.data); };</script>"""
    left, messages = browse(frame, tmp_path)
    told = json.loads(re.search(r"<pre>(.*)</pre>", left)[1])
    assert messages == [] and told["over"] <= 0
    assert 340 < told["picture"] <= 390 and told["lowest"] >= 44  # what a finger hits


def test_a_browser_that_hides_pixels_is_told_of_rather_than_noise_shown(tmp_path):
    hide = """<script>const real = CanvasRenderingContext2D.prototype.getImageData;
        CanvasRenderingContext2D.prototype.getImageData = function (...place) {
          const image = real.apply(this, place); image.data[5] ^= 1; return image; };</script>"""
    page = driven(as_html(a_case(), []), "")
    left, messages = browse(page.replace("<body>", f"<body>{hide}"), tmp_path)
    assert messages == [] and "does not let pages read pictures" in left
    assert re.search(r'<div id="slice-screen"[^>]* hidden=""', left) and 'class="goto"' not in left


def test_slices_without_lung_say_so(seen):
    assert seen["home"]["words"].endswith("no lung: not searched.")
    assert seen["up"]["words"].endswith("no lesion found.")
