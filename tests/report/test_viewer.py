"""The scan in a report: what its data hold."""

import base64
import io
import json
from dataclasses import replace

import numpy as np
from PIL import Image
from report_cases import SIDE, a_scan, a_slice, an_instance, classified, loose, pictures
from report_page import Page
from viewer_case import Z, a_case, a_ring, a_volume

from ctmasknet.data.window import LUNG, WINDOWS
from ctmasknet.report.report import as_html
from ctmasknet.report.viewer import content_policy, make_viewer


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
