"""The scan in a report: what its data hold, and what a browser makes of them."""

import base64
import html
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_util
import pytest
from PIL import Image
from report_cases import SIDE, a_scan, a_slice, an_instance, classified, loose, pictures
from report_page import Page

from ctmasknet.data.window import LUNG, WINDOWS
from ctmasknet.figures import lesion_colour, rgb
from ctmasknet.quantification.case import KeySlice
from ctmasknet.report.overlay import draw_instances
from ctmasknet.report.report import as_html
from ctmasknet.report.viewer import content_policy, make_viewer
from ctmasknet.volumes.volume import Volume

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
Z = 12
HU = (-900, -600, 40, 400, -150)  # of five bands of rows on each slice; the last one is HU + slice


def a_volume(z=Z, **changes):
    hu = np.repeat(np.array(HU, np.int16), 16)[:SIDE, None].repeat(SIDE, 1)[None].repeat(z, 0)
    return Volume(
        hu=hu + 10 * np.arange(z, dtype=np.int16)[:, None, None],
        spacing=(2.0, 0.5, 0.5),
        origin=(0.0, 0.0, 0.0),
        direction=np.eye(3),
        patient="p7",
        scan="1.2",
        source=Path("a/scan"),
        **changes,
    )


def a_ring():
    """A lesion with a hole, at the picture's left edge."""
    one = an_instance("C", 0.61, 0, 40, 9, 50)
    mask = one.mask.astype(np.uint8)
    mask[43:47, 3:6] = 0
    rle = mask_util.encode(np.asfortranarray(mask))
    return replace(one, rle={**rle, "counts": rle["counts"].decode()}, area_px=int(mask.sum()))


def a_case(**changes):
    """Lesions on slices 3 (two) and 7; slice 0 was not searched."""
    found = [an_instance("GGO", 0.93, 4, 8, 12, 24), a_ring()]
    slices = [a_slice() for _ in range(Z)]
    slices[0] = a_slice(searched=False)
    slices[3], slices[7] = a_slice(found), a_slice([an_instance("GGO", 0.5, 30, 30, 36, 40)])
    return replace(a_scan(slices), volume=a_volume(**changes))


def decoded(data, index):
    picture = base64.b64decode(data["slices"][index]["picture"])
    return np.array(data["hu"])[np.asarray(Image.open(io.BytesIO(picture)))]


def test_pictures_hold_the_hu():
    case = a_case()
    data = json.loads(make_viewer(case).data)
    assert (data["width"], data["height"], data["step"], data["start"]) == (SIDE, SIDE, 2.0, 3)
    assert len(data["slices"]) == Z
    for index in (0, 5, 11):
        assert np.abs(decoded(data, index) - case.volume.hu[index]).max() < 16  # bone: 31 a code


def test_hu_beyond_the_codes_are_the_nearest():
    volume = replace(a_volume(), hu=np.full((1, SIDE, SIDE), -2000.0, np.float32))
    volume.hu[0, :, :32] = 3000
    case = replace(a_scan([a_slice()]), volume=volume)
    shown = decoded(json.loads(make_viewer(case).data), 0)
    assert shown[5, 5] == 1500 and shown[5, 60] == -1024


def test_windows_are_the_radiologist_s():
    windows = json.loads(make_viewer(a_case()).data)["windows"]
    assert [name for name, *_ in windows] == ["lung", "mediastinum", "bone"]
    assert windows[1] == ["mediastinum", WINDOWS["mediastinum"].width, WINDOWS["mediastinum"].level]


def test_8_bit_images_have_their_own_window_alone():
    grey = np.arange(256, dtype=np.uint8).repeat(16).reshape(1, SIDE, SIDE)
    volume = replace(a_volume(), hu=LUNG.to_hu(grey), windowed=LUNG, measured=False)
    case = replace(a_scan([a_slice(mm=None)], spacing=None), volume=volume)
    data = json.loads(make_viewer(case).data)
    assert data["windows"] == [["lung", LUNG.width, LUNG.level]] and data["step"] is None
    codes = np.asarray(Image.open(io.BytesIO(base64.b64decode(data["slices"][0]["picture"]))))
    assert np.abs(codes.astype(int) - grey[0]).max() <= 3


def test_lesions_are_those_of_the_case():
    slices = json.loads(make_viewer(a_case()).data)["slices"]
    assert [len(x["lesions"]) for x in slices] == [0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0]
    first, ring = slices[3]["lesions"]
    assert first["class"] == 0 and first["score"] == 0.93 and first["box"] == [4, 8, 12, 24]
    assert ring["class"] == 1 and ring["mask"] == a_ring().rle["counts"]
    assert [x.get("searched", True) for x in slices] == [False] + [True] * 11


def test_noise_lowers_the_quality_not_the_number_of_slices(monkeypatch):
    rng = np.random.default_rng(0)
    noisy = rng.normal(-600, 200, (6, SIDE, SIDE)).astype(np.int16)
    case = replace(a_scan([a_slice()] * 6), volume=replace(a_volume(), hu=noisy))
    size = len(make_viewer(case).data)
    monkeypatch.setattr("ctmasknet.report.viewer._MOST_BYTES", 12_000)
    smaller = make_viewer(case)
    assert len(smaller.data) < 0.8 * size and len(json.loads(smaller.data)["slices"]) == 6


def test_300_noisy_slices_stay_below_25_mb():
    rng = np.random.default_rng(0)
    one = rng.normal(-600, 60, (1, 512, 512)).astype(np.int16)  # a sharp kernel's noise, everywhere
    case = a_scan([replace(a_slice(), size=(512, 512))] * 300)
    hu = np.broadcast_to(one, (300, 512, 512))
    page = as_html(replace(case, volume=replace(a_volume(), hu=hu)), [])
    assert 5_000_000 < len(page) < 25_000_000


def test_a_page_without_a_scan_has_no_script():
    for case in (classified(), loose([a_slice(source="a/1.png")])):
        assert make_viewer(case) is None
        found = Page(as_html(case, pictures(case)))
        assert not found.all("script") and not found.all("canvas")
    case = a_case()
    assert not Page(as_html(case, [], viewer=False)).all("script")


def test_without_javascript_the_report_is_complete_and_the_viewer_hidden():
    case = a_case()
    with_viewer, without = Page(as_html(case, [])), Page(as_html(case, [], viewer=False))
    section = next(a for tag, a in with_viewer.tags if a.get("id") == "viewer")
    assert "hidden" in section
    assert [x for x in without.text.split(" ") if x not in with_viewer.text] == []
    assert with_viewer.text.count("Research use only, not a diagnosis.") == 2


def test_the_policy_lets_this_script_alone_run():
    page = as_html(a_case(), [])
    meta = next(m for m in Page(page).all("meta") if m.get("http-equiv"))
    assert meta["content"] == content_policy(make_viewer(a_case()))
    assert "default-src 'none'" in meta["content"] and "'sha256-" in meta["content"]
    assert content_policy(None).endswith("script-src 'none'")


def test_names_of_classes_cannot_end_the_data():
    name = "</script><script>alert(1)</script>"
    case = a_scan([a_slice([an_instance(name, 0.9, 4, 8, 12, 24)], names=(name,))])
    page = as_html(replace(case, volume=a_volume(1)), [])
    assert page.count("<script") == 2  # the data, and the viewer
    assert json.loads(make_viewer(replace(case, volume=a_volume(1))).data)["classes"][0][0] == name


def test_rows_of_lesions_say_where_they_are():
    rows = [a for a in Page(as_html(a_case(), [])).all("tr") if "data-slice" in a]
    assert [row["data-slice"] for row in rows] == ["3", "3", "7"]
    assert rows[0]["data-box"] == "4.0,8.0,12.0,24.0"


# In a browser: a script drives the page as a reader would, and writes what it sees to its end.

DRIVE = Path(__file__).with_name("drive_viewer.js").read_text(encoding="utf-8")


def browse(page, folder, width=1200):
    """Open a page from disk; return what is left of it, and the messages of its console."""
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900"]
    command += ["--virtual-time-budget=20000", "--dump-dom", path.as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stdout, [line for line in run.stderr.splitlines() if "CONSOLE" in line]


browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    page = as_html(a_case(), [KeySlice(3, a_case().volume.slice(3), None)])
    policy = re.compile(r"script-src [^\"]*(?=\")")
    driven = policy.sub("script-src 'unsafe-inline'", page, count=1)
    driven = driven.replace("</body>", f"<script>{DRIVE}</script></body>")
    left, messages = browse(driven, tmp_path_factory.mktemp("browser"))
    result = re.search(r'<pre id="result">(.*)</pre>', left, re.S)
    assert result, (messages, left[-500:])
    return {**json.loads(html.unescape(result[1])), "messages": messages}


def pixels(one):
    return np.array(one["pixels"], np.uint8).reshape(SIDE, SIDE, 3)


@browser
@slow
def test_the_page_as_it_is_shows_the_scan_and_says_nothing_on_the_console(tmp_path):
    left, messages = browse(as_html(a_case(), []), tmp_path)
    assert messages == []
    assert re.search(r'<section id="viewer">', left)
    assert 'data-drawn="3"' in left and "Slice 3 of 0 to 11, 6 mm above the lowest." in left


@browser
@slow
def test_keys_wheel_slider_buttons_and_fingers_turn_slices(seen):
    assert seen["messages"] == [] and seen["hidden"] is False
    places = {name: one["drawn"] for name, one in seen.items() if isinstance(one, dict)}
    assert places["start"] == places["outlines on"] == 3
    assert [places[x] for x in ("up", "down", "end", "beyond")] == [4, 3, 11, 11]
    assert [places[x] for x in ("page down", "home")] == [1, 0]
    assert [places[x] for x in ("wheel before a click", "wheel up", "touchpad")] == [0, 1, 3]
    assert [places[x] for x in ("slider", "higher", "drag")] == [6, 7, 9]
    assert all(one["slider"] == one["drawn"] for one in seen.values() if isinstance(one, dict))


@browser
@slow
def test_what_is_drawn_is_the_slice_under_the_window(seen):
    for name, window in (("outlines off", "lung"), ("mediastinum", None), ("bone", None)):
        expected = a_case().volume.slice(3, WINDOWS[window or name])
        off = np.abs(pixels(seen[name]).astype(int) - expected)
        assert off.max() <= 5, name  # 3.5 HU are 2.6 grey values of 350 HU


@browser
@slow
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


@browser
@slow
def test_a_line_of_the_table_leads_to_its_slice_and_marks_the_lesion(seen):
    assert seen["links"] == ["slice 3", "slice 3", "slice 7"]
    assert seen["jump"]["drawn"] == 7 and seen["focused"] == "slice-screen"
    assert seen["jump"]["words"] == "Slice 7 of 0 to 11, 14 mm above the lowest. Lesions: GGO 0.50."
    shown = pixels(seen["jump"])
    white = np.argwhere((shown == 255).all(axis=-1) & (np.arange(SIDE)[:, None] < 32))
    assert white.min(axis=0).tolist() == [30 - 7, 30 - 7]
    assert seen["wide"] <= 0


@browser
@slow
def test_slices_without_lung_say_so(seen):
    assert seen["home"]["words"].endswith("no lung: not searched.")
    assert seen["up"]["words"].endswith("no lesion found.")
