"""The page: valid and self-contained, its numbers, its pictures' texts, and what models lack."""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from report_cases import (
    ABOUT,
    CASES,
    SIDE,
    a_scan,
    a_score_map,
    a_slice,
    an_instance,
    classified,
    loose,
    pictures,
)
from report_page import Page

from ctmasknet.quantification.case import KeySlice
from ctmasknet.report.report import as_html, write_report
from ctmasknet.wording import NOTICE

pytestmark = pytest.mark.slow  # whole networks, commands or data sets


def page(case, score_map=None):
    return Page(as_html(case, pictures(case, score_map)))


def html_of(name):
    case = CASES[name]()
    score_map = a_score_map() if name in ("both models", "one slice") else None
    return as_html(case, pictures(case, score_map))


@cache
def page_of(name):
    return Page(html_of(name))


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_case_is_one_sound_page(name):
    found = page_of(name)
    html = next(attrs for tag, attrs in found.tags if tag == "html")
    assert html["lang"] == "en"
    assert any(meta.get("name") == "viewport" for meta in found.all("meta"))
    for _, attrs in found.tags:
        for key in ("src", "href"):
            assert attrs.get(key, "#").startswith(("data:image/", "#"))
    assert not {"script", "link", "iframe"} & {tag for tag, _ in found.tags}
    assert found.all("img") and all(len(image["alt"]) > 20 for image in found.all("img"))
    assert [tag for tag, _ in found.tags if tag == "h1"] == ["h1"]
    assert "Research use only, not a diagnosis." in found.text and NOTICE in found.text
    told = found.text + " ".join(image["alt"] for image in found.all("img"))
    assert not re.search(r"\b(nan|inf|None)\b", told)


def test_headings_are_in_order():
    levels = [int(tag[1]) for tag, _ in page_of("both models").tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and np.diff(levels).max() == 1


def test_wide_tables_can_be_reached_by_keyboard():
    regions = [a for tag, a in page_of("both models").tags if a.get("class") == "wide"]
    assert len(regions) == 2
    assert all(a["tabindex"] == "0" and a["role"] == "region" and a["aria-label"] for a in regions)


def test_numbers_of_a_scan():
    text = page_of("both models").text
    assert "scan_7" in text and "patient p7" in text
    # Means of 25 and 50, of 75 and 50 percent.
    assert "Control 37.5%" in text and "COVID-19 62.5%" in text
    # 128 and 16 pixels of 0.25 mm2, 2 mm thick; of 2 x 2048 pixels of lung 128 are lesion.
    assert "in three dimensions; 2 outlines on 1 of 2 slices" in text
    assert re.search(r"GGO 1 1 1 0\.06 ml 3\.1%", text)
    assert re.search(r"C 1 1 1 <0\.01 ml 0\.0%", text)
    assert "severity band: <5 %" in text and "a threshold" in text
    # 8 x 16 pixels of 0.5 mm are 8.9 mm from corner to corner.
    assert "All 2 lesions, the largest first; lesions.csv has all of them." in text
    assert "1 GGO slice 0 0 0.06 ml 9 mm 0.93" in text


def test_lobes_and_their_score():
    text = page_of("lobes").text
    # 16 of 32 rows on one of two slices: of 2 of 6 columns in the first lobe, of all in the second.
    assert re.search(r"left upper 0\.19 ml 8\.3% 0\.0% 8\.3% 2 left lower 0\.19 ml 25\.0%", text)
    assert re.search(r"right lower 0\.19 ml 0\.0% 0\.0% 0\.0% 0", text)
    assert "CT score 4 of 25" in text and "Pan et al." in text
    assert "CT score" not in page_of("both models").text


def test_pictures_tell_their_numbers():
    alts = " ".join(image["alt"] for image in page_of("both models").all("img"))
    assert "COVID-19 62.5% on average, at most 75.0% on slice 0" in alts
    assert "GGO on 1 slice, at most 32 mm² on slice 0" in alts
    assert "2 lesions drawn: GGO, score 0.93, 32 mm², at x 4 to 12, y 8 to 24" in alts
    assert "of 2, 2 speak for COVID-19 and 0 against it; the strongest adds +1.2" in alts
    assert "-2.0 to 3.5" in alts and "50 pixels from 0.5 up" in alts
    assert "Scores of 2 ranked boxes: highest 0.80, median 0.55, 1 of 0.5 or more" in alts


def test_what_a_model_does_not_give_is_left_out():
    lesions = page_of("lesion model")
    assert "does not classify" in lesions.text and "Class of the scan" not in lesions.text
    assert "Probabilities" not in " ".join(image["alt"] for image in lesions.all("img"))
    assert len(lesions.all("img")) == 2  # along the scan, and the key slice
    boxes = page_of("boxes alone")
    assert "draws no outlines" in boxes.text and "Lesion volume" not in boxes.text
    assert "Lesion areas" not in " ".join(image["alt"] for image in boxes.all("img"))
    assert "Along the scan" not in page_of("one slice").text
    assert "derived from rows of zeros" in page_of("no ranked box").text
    assert "No lesion was found on any slice." in page_of("no lesion").text


def test_what_boxes_do_not_explain_is_said():
    found = a_slice([], [0.0, 1.0])
    seen = replace(found.ranked_boxes, boxes_share=np.array([0.5, 0.2]), attention=np.ones(2) / 2)
    whole = page(a_scan([replace(found, ranked_boxes=seen)]))
    assert "when it is left out: boxes 20.0%, the image around them 80.0%." in whole.text
    assert "attention weight" in whole.text and "from them alone" not in whole.text
    assert "from them alone" in page_of("one slice").text
    pixels = page(a_scan([replace(found, ranked_boxes=None)]))
    assert "reads the image itself, not boxes" in pixels.text
    assert "from them alone" not in pixels.text


def test_boxes_have_no_share_of_a_lung():
    boxes = CASES["boxes alone"]()
    measured = replace(boxes.quantities, lung_px=np.array([9, 9]), lung_method="a threshold")
    note = "No areas: boxes have none; --lesion-model gives masks."
    text = page(replace(boxes, quantities=measured, notes=(note,))).text
    assert f"Please note {note}" in text
    for word in ("share of the lung", "severity band", "a threshold"):
        assert word in page_of("both models").text and word not in text


def test_lesions_outside_the_lung_are_told_of_beside_the_band():
    outside = "severity band: none; the lesions found lie outside the lung"
    below = a_scan([a_slice([an_instance("C", 0.6, 40, 40, 44, 44)])], lung=True)
    assert outside in page(below).text
    healthy = page(a_scan([a_slice()], lung=True)).text
    assert "severity band: none" in healthy and outside not in healthy


def test_an_empty_score_map_is_no_picture():
    nowhere = np.full((SIDE, SIDE), np.nan, np.float32)
    shown = page(CASES["no lesion"](), nowhere).all("img")
    assert len(shown) == len(page_of("no lesion").all("img"))


def test_unknown_pixels_are_counted():
    text = page_of("size unknown").text
    assert "size of the pixels unknown" in text and "256 px" in text
    assert "mm²" not in text and "Lesion volume" not in text


def test_loose_slices_have_no_common_answer():
    found = [an_instance("GGO", 0.9, 4, 8, 12, 24)]
    slices = [a_slice(found, [0.0, np.log(3)], source="x/1.png"), a_slice([], [0, 0])]
    text = page(loose(slices)).text
    assert "Nothing says that these slices belong together" in text
    assert "1.png COVID-19 25.0% 75.0% 1 32 mm² 0 mm² 32 mm²" in text
    assert "slice 1 Control 50.0% 50.0% 0" in text
    assert "Class of the scan" not in text and "Along the scan" not in text


def test_files_of_one_name_are_told_apart_by_their_folders():
    text = page(loose([a_slice(source="x/1.png"), a_slice(source="y/1.png")])).text
    assert "x/1.png" in text and "y/1.png" in text


def test_names_are_text_not_html():
    classes = ("<script>alert(1)</script>", "A & $x^2$")
    scan = a_scan([a_slice([], [0.0, 1.0], classes=classes)] * 2, name="<b>scan</b>")
    scan = replace(scan, notes=('<img src="http://x">',))
    found = page(scan)
    assert "<script>alert(1)</script>" in found.text and "<b>scan</b>" in found.text
    assert not {"script", "b"} & {t for t, _ in found.tags if t == "script"}
    assert '<img src="http://x">' in found.text
    assert all(image["src"].startswith("data:") for image in found.all("img"))


def test_phantoms_are_warned_of_only_when_a_model_knows_nothing_else():
    warning = "knows only phantoms"
    assert warning not in page_of("both models").text
    model = {**ABOUT["models"][0], "name": "drawn", "phantom": True}
    about = {**ABOUT, "models": [*ABOUT["models"], model]}
    text = page(replace(classified(), about=about)).text
    assert warning in text and "Trained on phantoms (drawings): drawn." in text


def test_where_it_comes_from():
    text = page_of("both models").text
    for told in ("cncb_train", "abc123", "model.pth", "1500,-600", ABOUT["command"], "0.1.0"):
        assert told in text


def test_notes_begin_with_the_missing_lung():
    notes = ("a", "b", "c", "No share of the lung: too small")
    found = page(replace(CASES["lesion model"](), notes=notes))
    assert "Please note No share of the lung: too small a b All 4 notes" in found.text
    assert {"href": "#notes"} in found.all("a") and {"id": "notes"} in found.all("h3")


def test_notes_that_are_all_in_the_summary_are_not_repeated():
    found = page(replace(CASES["lesion model"](), notes=("first", "second", "third")))
    assert "Please note first second third" in found.text
    assert found.text.count("second") == 1 and {"id": "notes"} not in found.all("h3")


def test_each_key_slice_is_one_block():
    case = classified()
    grey = np.full((SIDE, SIDE, 3), 90, np.uint8)
    html = as_html(case, [KeySlice(0, grey, None), KeySlice(1, grey, None)])
    _, *blocks = html.split('<div class="key">')
    assert [block.count("<h3>") for block in blocks] == [1, 1 + len(ABOUT["models"]) + 1]
    assert re.search(r"\.key { break-inside: avoid; }", html)


def test_table_has_the_100_largest_lesions():
    many = [an_instance("GGO", 0.9, 0, 0, 1 + i % 60, 1 + i // 60) for i in range(150)]
    text = page(loose([a_slice(many)])).text
    assert "The 100 largest of 150 outlines" in text and "lesions.csv has all of them" in text
    assert text.count(" GGO 0.90 ") == 100
    assert text.index("0, 0 to 60, 2 ") < text.index("0, 0 to 30, 3 ")


def test_a_report_of_300_slices_is_small(tmp_path):
    rng = np.random.default_rng(0)
    found = [an_instance("GGO", 0.9, 4, 8, 12, 24), an_instance("C", 0.6, 40, 40, 44, 44)]
    slices = [a_slice(found, [0.0, rng.normal()]) for _ in range(300)]
    large = (512, 512)  # noise is the hardest to compress
    for index in (1, 150):
        slices[index] = replace(a_slice([], [0.0, 3.0]), size=large)
    case = a_scan(slices[:1] * 300)
    case = replace(case, slices=tuple(slices), scan=replace(case.scan, slices=tuple(slices)))
    keys = [
        KeySlice(
            index,
            rng.integers(0, 256, (*large, 3), dtype=np.uint8),
            rng.normal(size=large).astype(np.float32),
        )
        for index in (1, 150)
    ]
    path = tmp_path / "deep" / "report.html"
    write_report(path, case, keys)
    assert 100_000 < path.stat().st_size < 10_000_000 / 3  # 2 of 6 key slices
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_the_same_case_gives_the_same_page():
    assert Page(html_of("both models")).tags == page_of("both models").tags


def test_key_slices_that_are_not_the_case_s(tmp_path):
    case, grey = classified(), np.zeros((SIDE, SIDE, 3), np.uint8)
    path = tmp_path / "report.html"
    with pytest.raises(ValueError, match="a/scan: key slice 2, expected 0 to 1"):
        write_report(path, case, [KeySlice(2, grey, None)])
    with pytest.raises(ValueError, match=r"shape \(64, 63, 3\), expected \(64, 64, 3\)"):
        write_report(path, case, [KeySlice(0, grey[:, 1:], None)])
    with pytest.raises(ValueError, match="found no slice"):
        write_report(path, replace(case, slices=()), [])
    assert list(tmp_path.iterdir()) == []
