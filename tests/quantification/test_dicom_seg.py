"""DICOM Segmentations: where they lie in the patient, what they say, what they refuse."""

import zipfile

import highdicom as hd
import numpy as np
import pydicom
import pytest
from dicom_files import ENHANCED_CT, as_enhanced, edit_tags, save_volume, write_slice
from PIL import Image

from ctmasknet.errors import collecting
from ctmasknet.figures import lesion_colour, rgb
from ctmasknet.quantification.dicom_seg import write_dicom_seg
from ctmasknet.volumes.volume_files import read_volume
from ctmasknet.wording import NOTICE

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

STEP, PIXEL = 2.5, 0.7
BRIGHT = 40
ABOUT = {
    "models": [{"role": "lesions", "name": "R18", "sha256": "ab" * 32}],
    "versions": {"ctmasknet": "0.1.0"},
}


def save_series(folder, row=(1, 0, 0), column=(0, 1, 0), heights=(0, 1, 2, 3, 4), **tags):
    """Five files of 12 x 16 pixels along the normal of `row` and `column`, with a bright patch that
    is a different one in each but the first, which has none."""
    folder.mkdir(parents=True, exist_ok=True)
    normal = np.cross(row, column)
    for number, height in enumerate(heights):
        hu = np.full((12, 16), -850, np.int16)
        hu[1 : 2 * number : 2, 5 : 6 + number] = BRIGHT
        write_slice(
            folder / f"{9 - number}.dcm",
            hu,
            PixelSpacing=[PIXEL, PIXEL],
            ImageOrientationPatient=[*row, *column],
            ImagePositionPatient=[float(v) for v in (-50, -60, -100) + STEP * height * normal],
            **{"FrameOfReferenceUID": "1.2.5", **tags},
        )
    return folder


def turned(degrees, *vectors):
    """Vectors, turned about the patient's x and then y."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ [[1, 0, 0], [0, c, -s], [0, s, c]]
    return [(matrix @ vector).round(6).tolist() for vector in vectors]


def bright(volume):
    return (volume.hu == BRIGHT).astype(np.uint8)


def write_and_read(path, volume, labels, lesion_classes=("lesion",)):
    write_dicom_seg(path, volume, labels, lesion_classes, ABOUT)
    return hd.seg.segread(path)


def frames(segmentation):
    """For each frame its segment, the instance it refers to, its position and its pixels."""
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    for item, pixels in zip(
        segmentation.PerFrameFunctionalGroupsSequence,
        segmentation.pixel_array.reshape(-1, segmentation.Rows, segmentation.Columns),
        strict=True,
    ):
        segment = item if "SegmentIdentificationSequence" in item else shared
        yield (
            segment.SegmentIdentificationSequence[0].ReferencedSegmentNumber,
            item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID,
            np.array(item.PlanePositionSequence[0].ImagePositionPatient, float),
            pixels,
        )


def points_of(segmentation, number):
    """(P, 3) mm of the pixels of a segment, sorted, as DICOM (PS3.3, C.7.6.2.1.1) places them."""
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    between_rows, between_columns = shared.PixelMeasuresSequence[0].PixelSpacing
    points = []
    for segment, _, position, pixels in frames(segmentation):
        if segment == number:
            rows, columns = np.nonzero(pixels)
            points.append(
                position
                + columns[:, None] * between_columns * cosines[:3]
                + rows[:, None] * between_rows * cosines[3:]
            )
    return in_order(np.concatenate(points))


def points_in(volume, chosen):
    """(P, 3) mm of the chosen voxels by the volume's own geometry, sorted."""
    indices = np.argwhere(chosen)[:, ::-1] * volume.spacing[::-1]
    return in_order(volume.origin + indices @ volume.direction.T)


def in_order(points):
    return points[np.lexsort(points.round(2).T)]


X, Y = np.eye(3)[:2]


@pytest.mark.parametrize("degrees", [0, 9])
@pytest.mark.parametrize(
    ("row", "column"), [(X, Y), (-X, Y), (X, -Y), (-X, -Y), (Y, X), (-Y, X), (Y, -X), (-Y, -X)]
)
def test_segments_lie_where_the_voxels_are(tmp_path, row, column, degrees):
    folder = save_series(tmp_path / "ct", *turned(degrees, row, column))
    volume = read_volume(folder)
    labels = bright(volume)
    labels[:, :, volume.hu.shape[2] // 2 :] *= 2
    segmentation = write_and_read(tmp_path / "seg.dcm", volume, labels, ("GGO", "C"))
    for number in (1, 2):
        expected = points_in(volume, labels == number)
        assert len(expected) > 3
        assert np.allclose(points_of(segmentation, number), expected, atol=0.01)
    # Frame by frame, too, on the very pixels that are bright in the file each refers to.
    files = {pydicom.dcmread(path).SOPInstanceUID: path for path in folder.iterdir()}
    by_file = {}
    for _, uid, position, pixels in frames(segmentation):
        by_file[uid] = by_file.get(uid, 0) + pixels
        assert position.tolist() == pydicom.dcmread(files[uid]).ImagePositionPatient
    assert len(by_file) == 4
    for uid, pixels in by_file.items():
        assert np.array_equal(pixels, pydicom.dcmread(files[uid]).pixel_array == BRIGHT + 1024)


def test_frames_lie_on_slices_with_uneven_steps(tmp_path):
    folder = save_series(tmp_path / "ct", heights=(0, 1, 2, 5, 6))
    errors = collecting()
    volume = read_volume(folder, errors=errors)
    assert len(errors.messages) == 1
    segmentation = write_and_read(tmp_path / "seg.dcm", volume, bright(volume))
    heights = sorted(position[2] for _, _, position, _ in frames(segmentation))
    assert heights == [-97.5, -95.0, -87.5, -85.0]


def test_a_zip_is_read_in_place(tmp_path):
    folder = save_series(tmp_path / "ct")
    archive = tmp_path / "a!b.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        for path in folder.iterdir():
            stream.writestr(f"./study//{path.name}", path.read_bytes())
    from_zip, from_folder = read_volume(archive), read_volume(folder)
    one = write_and_read(tmp_path / "1.dcm", from_zip, bright(from_zip))
    other = write_and_read(tmp_path / "2.dcm", from_folder, bright(from_folder))
    assert [frame[1] for frame in frames(one)] == [frame[1] for frame in frames(other)]
    assert np.array_equal(one.pixel_array, other.pixel_array)


def test_one_file_alone(tmp_path):
    folder = save_series(tmp_path / "ct")
    volume = read_volume(folder / "5.dcm")
    segmentation = write_and_read(tmp_path / "seg.dcm", volume, bright(volume))
    assert np.allclose(points_of(segmentation, 1), points_in(volume, bright(volume)))


def test_what_it_says_of_itself(tmp_path):
    volume = read_volume(save_series(tmp_path / "ct", PatientName="A^B"))
    classes = ("GGO", "C", "nodule")
    segmentation = write_and_read(tmp_path / "seg.dcm", volume, bright(volume), classes)
    assert segmentation.SegmentationType == "BINARY"
    assert segmentation.ContentDescription == NOTICE and NOTICE in segmentation.SeriesDescription
    assert segmentation.StudyInstanceUID == "1.2.3" and segmentation.PatientName == "A^B"
    assert segmentation.FrameOfReferenceUID == "1.2.5" and segmentation.PatientID == "p7"
    series = segmentation.ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == "1.2.3.4" and len(series.ReferencedInstanceSequence) == 5
    described = [
        (item.SegmentLabel, item.SegmentedPropertyTypeCodeSequence[0].CodeValue)
        for item in segmentation.SegmentSequence
    ]
    assert described == [("GGO", "112120"), ("C", "95436008"), ("nodule", "27925004")]
    assert "CodingSchemeIdentificationSequence" not in segmentation
    first = segmentation.get_segment_description(1)
    assert first.segmented_property_category.value == "49755003"
    assert first.anatomic_regions[0].value == "39607008"
    colour = hd.color.CIELabColor.from_dicom_value(first.RecommendedDisplayCIELabValue)
    assert np.allclose(colour.to_rgb(), rgb(lesion_colour(0)), atol=1)
    algorithm = first.algorithm_identification
    assert (algorithm.name, algorithm.version) == ("ctmasknet", "0.1.0")
    assert algorithm.family.value == "123110"  # artificial intelligence
    assert algorithm.parameters == {"lesions": f"R18 (SHA-256 {'ab' * 32})"}


def test_a_class_has_its_own_code_and_lies_where_it_lies(tmp_path):
    volume = read_volume(save_series(tmp_path / "ct"))
    classes = ("nodule", "pleural effusion", "cavity 2")
    segmentation = write_and_read(tmp_path / "seg.dcm", volume, bright(volume), classes)
    described = [segmentation.get_segment_description(number) for number in (1, 2, 3)]
    assert [one.segment_label for one in described] == list(classes)
    types = [one.segmented_property_type for one in described]
    assert [(x.scheme_designator, x.value, x.meaning) for x in types] == [
        ("SCT", "27925004", "Nodule"),
        ("SCT", "60046008", "Pleural effusion"),
        ("99CTMASKNET", "8034D0D6556F99E5", "cavity 2"),
    ]
    regions = [[region.meaning for region in one.anatomic_regions] for one in described]
    assert regions == [[], ["Pleural structure"], []]
    assert {one.segmented_property_category.value for one in described} == {"49755003"}
    (scheme,) = segmentation.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == "99CTMASKNET"


def test_names_in_any_letters(tmp_path):
    tags = {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg"}
    volume = read_volume(save_series(tmp_path / "ct", **tags))
    classes = ("Knötchen", "結節")
    write_dicom_seg(tmp_path / "seg.dcm", volume, bright(volume), classes, ABOUT)
    segmentation = pydicom.dcmread(tmp_path / "seg.dcm")
    assert segmentation.SpecificCharacterSet == "ISO_IR 192"
    assert [segment.SegmentLabel for segment in segmentation.SegmentSequence] == list(classes)
    assert segmentation.PatientName == "Müller^Jörg"


def test_english_names_keep_the_character_set_of_the_source(tmp_path):
    tags = {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg"}
    volume = read_volume(save_series(tmp_path / "ct", **tags))
    segmentation = write_and_read(tmp_path / "seg.dcm", volume, bright(volume), ("nodule",))
    assert segmentation.SpecificCharacterSet == "ISO_IR 100"
    assert segmentation.PatientName == "Müller^Jörg"


@pytest.mark.parametrize(
    ("sets", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        (["", "ISO 2022 IR 58"], "Zhang^XiaoDong=张^小东"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小东"),
    ],
)
def test_patients_keep_their_names_in_any_character_set(tmp_path, sets, name):
    tags = {"SpecificCharacterSet": sets, "PatientName": name}
    volume = read_volume(save_series(tmp_path / "ct", **tags))
    write_dicom_seg(tmp_path / "seg.dcm", volume, bright(volume), ("lesion",), ABOUT)
    assert pydicom.dcmread(tmp_path / "seg.dcm").PatientName == name


def test_chinese_with_the_escape_sequences_of_the_standard(tmp_path):
    """As PS3.5, annex K, writes such a name; pydicom leaves the sequences out when it writes."""
    name = "\x1b$)A张^\x1b$)A王".encode("gb2312")
    room = "#" * len(name)
    tags = {"SpecificCharacterSet": ["", "ISO 2022 IR 58"], "PatientName": f"Zhang^Wang={room}"}
    for path in (folder := save_series(tmp_path / "ct", **tags)).iterdir():
        path.write_bytes(path.read_bytes().replace(room.encode(), name))
    volume = read_volume(folder)
    write_dicom_seg(tmp_path / "seg.dcm", volume, bright(volume), ("lesion",), ABOUT)
    assert pydicom.dcmread(tmp_path / "seg.dcm").PatientName == "Zhang^Wang=张^王"


def test_a_class_that_was_not_found_is_there_without_frames(tmp_path):
    volume = read_volume(save_series(tmp_path / "ct"))
    segmentation = write_and_read(tmp_path / "seg.dcm", volume, 2 * bright(volume), ("GGO", "C"))
    assert segmentation.number_of_segments == 2
    assert {segment for segment, *_ in frames(segmentation)} == {2}


def test_a_scan_without_lesions_has_one_empty_frame_for_each_class(tmp_path, caplog):
    volume = read_volume(save_series(tmp_path / "ct"))
    segmentation = write_and_read(tmp_path / "s.dcm", volume, 0 * bright(volume), ("GGO", "C"))
    assert [segment for segment, *_ in frames(segmentation)] == [1, 2]
    assert not segmentation.pixel_array.any() and not caplog.records
    references = segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert len({item.ReferencedSOPInstanceUID for item in references}) == 5


@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")
def test_anonymised_and_bare_headers_are_enough(tmp_path):
    folder = save_series(
        tmp_path / "ct",
        PatientID=None,
        SliceThickness=None,
        PatientSex="U",
        PatientBirthDate="00000000",
        SpacingBetweenSlices=99,
    )
    edit_tags(folder / "7.dcm", ImageOrientationPatient=[1, 0.0001, 0, 0, 1, 0])
    volume = read_volume(folder)
    segmentation = write_and_read(tmp_path / "seg.dcm", volume, bright(volume))
    for name in ("PatientID", "PatientName", "PatientSex", "PatientBirthDate", "StudyDate"):
        assert not segmentation[name].value, name
    measures = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert (measures.SliceThickness, measures.SpacingBetweenSlices) == (STEP, STEP)


def test_it_refers_to_the_series_of_each_slice(tmp_path):
    folder = save_series(tmp_path / "ct")
    for path in folder.iterdir():
        edit_tags(path, SeriesInstanceUID=f"1.2.9.{path.stem}")
    volume = read_volume(folder)
    segmentation = write_and_read(tmp_path / "seg.dcm", volume, bright(volume))
    found = {
        item.SeriesInstanceUID: item.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID
        for item in segmentation.ReferencedSeriesSequence
    }
    assert found == {
        f"1.2.9.{path.stem}": pydicom.dcmread(path).SOPInstanceUID for path in folder.iterdir()
    }


def test_it_refers_to_enhanced_ct_as_such(tmp_path):
    volume = read_volume(as_enhanced(save_series(tmp_path / "ct")))
    segmentation = write_and_read(tmp_path / "seg.dcm", volume, bright(volume))
    assert np.array_equal(points_of(segmentation, 1), points_in(volume, bright(volume)))
    images = segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {image.ReferencedSOPClassUID for image in images} == {ENHANCED_CT} and len(images) == 5
    for item in segmentation.PerFrameFunctionalGroupsSequence:
        (image,) = item.DerivationImageSequence[0].SourceImageSequence
        assert image.ReferencedSOPClassUID == ENHANCED_CT


def test_headers_that_only_a_tolerant_reader_takes(tmp_path):
    for path in (folder := save_series(tmp_path / "ct", SliceThickness=1.75)).iterdir():
        content = path.read_bytes()[132:]  # without preamble
        for number in (b"1.75", b"0.7\\0.7"):
            assert number in content
            content = content.replace(number, number.replace(b".", b","))
        path.write_bytes(content)
    volume = read_volume(folder)
    segmentation = write_and_read(tmp_path / "seg.dcm", volume, bright(volume))
    assert np.allclose(points_of(segmentation, 1), points_in(volume, bright(volume)))


def test_slices_of_several_studies_have_no_segmentation(tmp_path):
    for k, path in enumerate((folder := save_series(tmp_path / "ct")).iterdir()):
        edit_tags(path, StudyInstanceUID=f"1.3.{k}", SeriesInstanceUID=f"1.2.9.{k}")
    volume = read_volume(folder)
    with pytest.raises(ValueError, match=r"its slices have several StudyInstanceUIDs\): use the N"):
        write_dicom_seg(tmp_path / "seg.dcm", volume, bright(volume), ("lesion",), ABOUT)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"FrameOfReferenceUID": None}, "no Frame Of Reference UID"),
        ({"StudyInstanceUID": None}, "StudyInstanceUID"),
    ],
)
def test_a_series_that_cannot_be_referred_to_is_refused(tmp_path, tags, reason):
    volume = read_volume(save_series(tmp_path / "ct", **tags))
    with pytest.raises(ValueError, match=f"ct: no DICOM segmentation.*{reason}.*use the NIfTI"):
        write_dicom_seg(tmp_path / "seg.dcm", volume, bright(volume), ("lesion",), ABOUT)
    assert [path.name for path in tmp_path.iterdir()] == ["ct"]


def test_only_dicom_can_be_referred_to(tmp_path):
    hu = np.full((2, 6, 6), -900, np.int16)
    Image.fromarray(np.zeros((6, 6), np.uint8)).save(tmp_path / "a.png")
    for path in (save_volume(tmp_path / "a.nii.gz", hu), tmp_path / "a.png"):
        volume = read_volume(path)
        with pytest.raises(ValueError, match=f"{path.name}: no DICOM files"):
            write_dicom_seg(tmp_path / "seg.dcm", volume, bright(volume), ("lesion",), ABOUT)


def test_labels_must_fit(tmp_path):
    volume = read_volume(save_series(tmp_path / "ct"))
    for labels in (bright(volume)[:4], bright(volume).astype(bool)):
        with pytest.raises(ValueError, match=r"expected \(5, 12, 16\) in uint8"):
            write_dicom_seg(tmp_path / "seg.dcm", volume, labels, ("lesion",), ABOUT)
    assert [path.name for path in tmp_path.iterdir()] == ["ct"]


def test_a_segment_for_each_lesion(tmp_path):
    volume = read_volume(save_series(tmp_path / "ct"))
    found = bright(volume) > 0
    ids = np.zeros(volume.hu.shape, np.uint16)
    ids[found] = np.arange(found.sum()) + 1
    number = int(ids.max())
    names = [("GGO", "long name of a class " * 3)[k % 2] for k in range(number)]
    path = tmp_path / "seg.dcm"
    write_dicom_seg(path, volume, ids, ("GGO", names[1]), ABOUT, names)
    segmentation = hd.seg.segread(path)
    assert segmentation.number_of_segments == number > 20
    for lesion_id in (1, 2, number):
        assert np.allclose(points_of(segmentation, lesion_id), points_in(volume, ids == lesion_id))
    first, second = (segmentation.get_segment_description(k) for k in (1, 2))
    assert (first.segment_label, first.SegmentDescription) == ("GGO 1", "GGO")
    assert (first.tracking_id, second.tracking_id) == ("lesion 1", "lesion 2")
    assert first.tracking_uid != second.tracking_uid
    assert first.segmented_property_type.value == "112120"
    assert len(second.segment_label) <= 64 and second.segment_label.endswith(" 2")
    colours = [
        segmentation.get_segment_description(k).RecommendedDisplayCIELabValue for k in (1, 2, 3)
    ]
    assert colours[0] == colours[2] != colours[1]
