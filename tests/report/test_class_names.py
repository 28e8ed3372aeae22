"""A model's own names of classes in every file of a case, from CSV to DICOM SEG."""

import csv
import gzip
import json
from dataclasses import replace

import highdicom as hd
import numpy as np
import pycocotools.mask as mask_util
import pytest
import SimpleITK as sitk
from dicom_files import SIZE, lung_hu, save_volume, write_series
from report_cases import ABOUT, a_scan, a_slice, an_instance, loose, pictures
from report_page import Page

from ctmasknet.inference.predictions import Instance, ScanPrediction, SlicePrediction
from ctmasknet.quantification.case import Case, KeySlice
from ctmasknet.quantification.quantify import quantify
from ctmasknet.report.case_files import write_case
from ctmasknet.report.report import as_html
from ctmasknet.report.report_tables import loose_slices
from ctmasknet.volumes.volume_files import read_volume

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

CLASSES = ("nodule", "pleural effusion")
GREY = np.full((SIZE, SIZE, 3), 90, np.uint8)


def a_lesion(name, x0, y0, x1, y1):
    mask = np.zeros((SIZE, SIZE), np.uint8, order="F")
    mask[y0:y1, x0:x1] = 1
    area = int(mask.sum())
    return Instance(name, 0.9, (x0, y0, x1, y1), mask_util.encode(mask), area, area * 0.49)


def a_case(volume, classes=CLASSES):
    """4 x 5 pixels of the first class on slice 1 and 2, 3 x 3 of the second on slice 2."""
    first = a_lesion(classes[0], 2, 3, 6, 8)
    second = a_lesion(classes[1], 9, 9, 12, 12)
    found = [(), (first,), (first, second), *[()] * (len(volume) - 3)]
    slices = tuple(
        SlicePrediction((SIZE, SIZE), classes, one, True, pixel_mm=(0.7, 0.7)) for one in found
    )
    scan = ScanPrediction(slices, "scan", "p7", "1", volume.spacing)
    measured = quantify(slices, volume.spacing, hu=volume.hu)
    return Case("scan_7", "scan", slices, scan, volume, measured, ABOUT)


@pytest.fixture
def series(tmp_path):
    write_series(tmp_path / "ct", lung_hu(5), FrameOfReferenceUID="1.2.5")
    return read_volume(tmp_path / "ct")


def test_a_nodule_and_an_effusion_in_every_file(series, tmp_path):
    out = tmp_path / "out"
    case = write_case(out, a_case(series), [KeySlice(2, GREY, None)])
    assert case.notes == ()
    with open(out / "lesions.csv", newline="") as file:
        found = [(row["lesion_id"], row["class"]) for row in csv.DictReader(file)]
    assert found == [("1", "nodule"), ("2", "pleural effusion")]
    with open(out / "outlines.csv", newline="") as file:
        outlines = [(row["class"], row["lesion_id"]) for row in csv.DictReader(file)]
    assert outlines == [("nodule", "1"), ("nodule", "1"), ("pleural effusion", "2")]
    with open(out / "labels.csv", newline="") as file:
        labels = {row["label"]: row["class"] for row in csv.DictReader(file)}
    assert labels == {"1": "nodule", "2": "pleural effusion"}
    header = gzip.decompress((out / "lesions.nii.gz").read_bytes())
    assert header[148:228].rstrip(b"\0") == b"1=nodule,2=pleural effusion"
    result = json.loads((out / "result.json").read_text())
    lesions = result["quantities"]["lesions"]
    assert list(lesions) == [*CLASSES, "any lesion"]
    assert [x["area_px"] for x in lesions.values()] == [40, 9, 49]
    assert lesions["pleural effusion"]["volume_ml"] == pytest.approx(9 * 0.49 * 2 / 1000, abs=1e-6)
    page = Page((out / "report.html").read_text())
    assert "nodule 1 2 2 0.04 ml" in page.text and "pleural effusion 1 1 1 <0.01 ml" in page.text
    assert "GGO" not in page.text and "consolidation" not in page.text
    alts = " ".join(image["alt"] for image in page.all("img"))
    assert "pleural effusion, score 0.90" in alts and "nodule on 2 slices" in alts


def test_the_segmentation_reads_back_with_names_and_codes(series, tmp_path):
    write_case(tmp_path / "out", a_case(series), [])
    segmentation = hd.seg.segread(tmp_path / "out" / "lesions.seg.dcm")
    told = [
        (one.segment_label, one.segmented_property_type.value, one.segmented_property_type.meaning)
        for one in map(segmentation.get_segment_description, (1, 2))
    ]
    assert told == [
        ("nodule 1", "27925004", "Nodule"),
        ("pleural effusion 2", "60046008", "Pleural effusion"),
    ]
    frames = segmentation.get_volume(combine_segments=True).array
    assert [np.count_nonzero(frames == k) for k in (1, 2)] == [40, 9]


def test_every_file_has_the_same_lesions(series, tmp_path):
    out = tmp_path / "out"
    write_case(out, a_case(series), [KeySlice(2, GREY, None)])
    ids, classes = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(out / name)))
        for name in ("lesion_ids.nii.gz", "lesions.nii.gz")
    )
    assert ids.dtype == np.uint16
    with open(out / "lesions.csv", newline="") as file:
        lesions = list(csv.DictReader(file))
    result = json.loads((out / "result.json").read_text())
    assert [x["volume_ml"] for x in result["lesions"]] == pytest.approx(
        [np.count_nonzero(ids == k) * 0.7 * 0.7 * 2 / 1000 for k in (1, 2)]
    )
    total = result["quantities"]["lesions"]["any lesion"]
    assert total["volume_ml"] == pytest.approx(sum(float(x["volume_ml"]) for x in lesions))
    assert total["lesions_3d"] == len(lesions) == ids.max() == 2
    for lesion in lesions:
        own = ids == int(lesion["lesion_id"])
        assert np.unique(classes[own]) == CLASSES.index(lesion["class"]) + 1
        slices = np.flatnonzero(own.any(axis=(1, 2)))
        assert [int(lesion[x]) for x in ("first_slice", "last_slice")] == [slices[0], slices[-1]]
        assert float(lesion["mean_hu"]) == pytest.approx(series.hu[own].mean())
    array = hd.seg.segread(out / "lesions.seg.dcm").get_volume(combine_segments=True).array
    assert [np.count_nonzero(array == k) for k in (1, 2)] == [int(x["voxels"]) for x in lesions]


def test_boxes_alone_are_listed_one_by_one(series, tmp_path):
    boxes = [replace(s, instances=(), has_masks=False) for s in a_case(series).slices]
    boxes[1] = replace(boxes[1], instances=(Instance("nodule", 0.9, (2, 3, 6, 8)),))
    scan = ScanPrediction(tuple(boxes), "scan", "p7", "1", series.spacing)
    measured = quantify(boxes, series.spacing)
    case = Case("scan_7", "scan", scan.slices, scan, series, measured, ABOUT)
    write_case(tmp_path / "out", case, [])
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"lesions.csv", "report.html", "result.json"}
    header, line = (tmp_path / "out" / "lesions.csv").read_text().splitlines()
    assert header.startswith("slice,file,") and line.startswith("1,,2.0,nodule,0.9,")


def test_a_class_without_a_code_is_noted(series, tmp_path):
    classes = ("cavity 2", "Höhle")
    case = write_case(tmp_path / "out", a_case(series, classes), [])
    assert [note.split(":")[0] for note in case.notes] == [
        "'cavity 2' has no DICOM code",
        "'Höhle' has no DICOM code",
    ]
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["notes"] == list(case.notes) and result["problems"] == []
    assert "has no DICOM code" in Page((tmp_path / "out" / "report.html").read_text()).text


def test_without_dicom_there_is_nothing_to_note(tmp_path):
    volume = read_volume(save_volume(tmp_path / "a.nii.gz", lung_hu(5)))
    case = write_case(tmp_path / "out", a_case(volume, ("cavity 2", "x")), [])
    assert case.notes == () and not (tmp_path / "out" / "lesions.seg.dcm").exists()


def test_words_explain_the_papers_classes_alone():
    known = Page(as_html(a_scan([a_slice()] * 2), pictures(a_scan([a_slice()] * 2)))).text
    assert "Ground-glass opacity, consolidation." in known
    own = a_scan([a_slice(names=("GGO", "C", "nodule"))] * 2)
    assert "Ground-glass" not in Page(as_html(own, pictures(own))).text


def test_classes_called_as_sums_and_columns_lose_no_number():
    names = ("any lesion", "nodule")
    found = [
        an_instance("any lesion", 0.9, 4, 8, 12, 24),
        an_instance("nodule", 0.8, 40, 40, 44, 44),
    ]
    measured = quantify([a_slice(found, names=names)])
    assert measured.names == ("any lesion", "nodule", "all of any lesion")
    assert measured.areas_px.tolist() == [[128, 16, 144]]
    answers = [a_slice(found, [0.0, np.log(3)], names, classes=("file", "lesions"))]
    case = loose(answers)
    titles = [title for title, _ in loose_slices(case).columns]
    assert titles[:5] == ["file", "class", "file", "lesions", "lesions"]
    assert loose_slices(case).rows[0][2:5] == ("25.0%", "75.0%", "2")


def test_many_classes_with_long_names_are_one_sound_page():
    names = tuple(f"a class with a long name, which goes on and on, number {k}" for k in range(12))
    found = [an_instance(name, 0.9, 5 * k, 0, 5 * k + 4, 9) for k, name in enumerate(names)]
    case = a_scan([a_slice(found, names=names), a_slice(names=names)])
    html = as_html(case, pictures(case))
    text = Page(html).text
    assert all(name in text for name in names) and "…" not in text
    swatches = {part.split(")")[0] for part in html.split("color: rgb(")[1:]}
    assert len(swatches) >= 12
