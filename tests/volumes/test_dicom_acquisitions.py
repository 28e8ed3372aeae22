"""A scan is one acquisition of one patient, however its files are numbered and mixed."""

import numpy as np
import pytest
from dicom_files import edit_tags, lung_hu, write_series

from ctmasknet.data.window import LUNG
from ctmasknet.errors import collecting
from ctmasknet.inference.inputs import find_inputs
from ctmasknet.volumes.volume_files import read_volume

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

FIRST, SECOND = lung_hu(8), lung_hu(8)[:, :, ::-1] + np.int16(300)


def write_pass(folder, hu, letter, shift=0.0, each=lambda k: {}, **tags):
    """A pass of the series 1.2.9 whose names interleave with those of other passes."""
    names = [f"{k:02d}{letter}.dcm" for k in range(len(hu))]
    for k, path in enumerate(write_series(folder, hu, names=names)):
        place = {"ImagePositionPatient": [-50, -60, -100 + 2 * k + shift], "InstanceNumber": k + 1}
        edit_tags(path, **{"SeriesInstanceUID": "1.2.9", **place, **tags, **each(k)})


def scans(folder):
    """What is read of each scan in a folder, without a problem."""
    inputs, problems, _ = find_inputs([folder])
    assert problems == []
    volumes = []
    for item in inputs:
        volumes.append(item.read(LUNG, None, errors := collecting()).hu)
        assert errors.messages == []
    return inputs, volumes


SHIFTS = [0.0, 5.0, 1.0]  # at the same places, overlapping off the grid, fully interleaved
TIMES = [{"AcquisitionTime": "101501"}, {"AcquisitionTime": "101601"}]


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}),
        tuple(TIMES),
        ({"AcquisitionNumber": 1, **TIMES[0]}, {"AcquisitionNumber": 1, **TIMES[1]}),
        ({"ConvolutionKernel": "B70f"}, {"ConvolutionKernel": "B30f"}),
    ],
)
def test_passes_in_one_series_are_scans_of_their_own(tmp_path, first, second, shift):
    write_pass(tmp_path, FIRST, "a", **first)
    write_pass(tmp_path, SECOND, "b", shift, **second)
    inputs, (one, other) = scans(tmp_path)
    assert np.array_equal(one, FIRST) and np.array_equal(other, SECOND)
    assert all("one series holds several scans" in item.note for item in inputs)
    with pytest.raises(ValueError, match=r"found 2 scans, expected one: .*folder of its own"):
        read_volume(tmp_path)
    volume = read_volume(tmp_path, series="1.2.9", errors=(errors := collecting()))
    assert np.array_equal(volume.hu, FIRST) and "took 1.2.9 (" in errors.messages[0]


@pytest.mark.parametrize("shift", SHIFTS[:2])
def test_passes_numbered_through_slice_by_slice(tmp_path, shift):
    def numbered(start):
        return lambda k: {"AcquisitionNumber": start + k, "InstanceNumber": start + k}

    write_pass(tmp_path, FIRST, "a", each=numbered(1))
    write_pass(tmp_path, SECOND[::-1], "b", each=numbered(9))
    for k in range(8):  # the second runs downwards
        place = [-50, -60, -100 + 2 * (7 - k) + shift]
        edit_tags(tmp_path / f"{k:02d}b.dcm", ImagePositionPatient=place)
    _, (one, other) = scans(tmp_path)
    assert np.array_equal(one, FIRST) and np.array_equal(other, SECOND)


@pytest.mark.parametrize(
    "each",
    [
        lambda k: {"AcquisitionNumber": k},
        lambda k: {"AcquisitionNumber": k % 2},
        lambda k: {"AcquisitionNumber": k // 4, "AcquisitionTime": f"10150{k // 4}"},
    ],
)
def test_one_acquisition_stays_whole_whatever_its_numbers(tmp_path, each):
    write_pass(tmp_path, FIRST, "a", each=each)
    _, (one,) = scans(tmp_path)
    assert np.array_equal(one, FIRST)
    assert np.array_equal(read_volume(tmp_path).hu, FIRST)


@pytest.mark.parametrize(
    "other",
    [{"PatientID": "p8"}, {"StudyInstanceUID": "1.2.4"}, {"FrameOfReferenceUID": "1.2.5"}],
)
def test_patients_who_share_a_series_uid(tmp_path, other):
    write_pass(tmp_path, FIRST, "a", FrameOfReferenceUID="1.1", PatientID="p7")
    write_pass(tmp_path, SECOND, "b", shift=16, **{"FrameOfReferenceUID": "1.1", **other})
    _, (one, two) = scans(tmp_path)
    assert np.array_equal(one, FIRST) and np.array_equal(two, SECOND)


def test_slices_of_which_each_has_a_series_of_its_own(tmp_path):
    write_pass(tmp_path, FIRST, "a", each=lambda k: {"SeriesInstanceUID": f"1.2.9.{k}"})
    (item,), (one,) = scans(tmp_path)
    assert np.array_equal(one, FIRST) and "frame of reference of its own" in item.note
    assert np.array_equal(read_volume(tmp_path).hu, FIRST)


@pytest.mark.parametrize(
    "each",
    [
        lambda k: {"FrameOfReferenceUID": f"1.1.{k}"},
        lambda k: {"SeriesInstanceUID": f"1.2.9.{k}", "FrameOfReferenceUID": f"1.1.{k}"},
        lambda k: {"SeriesInstanceUID": f"1.2.9.{k}", "StudyInstanceUID": f"1.3.{k}"},
    ],
)
def test_slices_with_even_steps_are_one_scan(tmp_path, each):
    write_pass(tmp_path, FIRST, "a", each=each)
    (item,), (one,) = scans(tmp_path)
    assert np.array_equal(one, FIRST) and "of its own" in item.note
    edit_tags(tmp_path / "03a.dcm", ImagePositionPatient=[-50, -60, -95])  # 1 mm off
    assert len(find_inputs([tmp_path])[0]) == 8


def test_two_passes_of_slices_with_a_series_of_their_own(tmp_path):
    for letter, hu, number in (("a", FIRST, 1), ("b", SECOND, 2)):

        def each(k, number=number):
            return {"SeriesInstanceUID": f"1.2.9.{number}.{k}", "AcquisitionNumber": number}

        write_pass(tmp_path, hu, letter, each=each)
    _, (one, other) = scans(tmp_path)
    assert np.array_equal(one, FIRST) and np.array_equal(other, SECOND)


@pytest.mark.parametrize("shift", [*SHIFTS, 0.7, 500.0])
def test_patients_of_whom_only_the_folder_is_another(tmp_path, shift):
    write_pass(tmp_path / "p1", FIRST, "a")
    write_pass(tmp_path / "p2", SECOND, "b", shift)
    _, (one, other) = scans(tmp_path)
    assert np.array_equal(one, FIRST) and np.array_equal(other, SECOND)


@pytest.mark.parametrize(
    "tag", ["ContentTime", "FilterType", "PatientName", "SeriesDescription", "SeriesNumber"]
)
def test_passes_that_another_tag_tells_apart(tmp_path, tag):
    first, second = ("1", "2") if tag == "SeriesNumber" else ("101501", "101601")
    write_pass(tmp_path, FIRST, "a", **{tag: first})
    write_pass(tmp_path, SECOND, "b", 0.7, **{tag: second})
    _, (one, other) = scans(tmp_path)
    assert np.array_equal(one, FIRST) and np.array_equal(other, SECOND)


@pytest.mark.parametrize(
    ("shift", "number", "found"),
    [
        (0.7, 0, "two rows of positions that lie between each other"),
        (0.7, 8, "two rows of positions that lie between each other"),
        (500.0, 0, "uneven steps, with InstanceNumbers that repeat"),
    ],
)
def test_scans_that_nothing_tells_apart_are_refused(tmp_path, shift, number, found):
    def numbered(k):  # the order in which positions of both rise
        place = sorted([*range(8), *(x + shift / 2 for x in range(8))])
        return {"InstanceNumber": 1 + (place.index(k + shift / 2) if number else k)}

    each = {"each": lambda k: {"InstanceNumber": 1 + (2 * k if number else k)}}
    write_pass(tmp_path, FIRST, "a", **each)
    write_pass(tmp_path, SECOND, "b", shift, each=numbered)
    for errors in ({}, {"errors": collecting()}):
        with pytest.raises(ValueError, match=rf"found 16 slices in {found}"):
            read_volume(tmp_path, **errors)


def test_axial_and_other_slices_of_one_series_are_parted(tmp_path):
    write_pass(tmp_path, FIRST, "a")
    write_pass(tmp_path, SECOND, "b", ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    for k in range(8):
        edit_tags(tmp_path / f"{k:02d}b.dcm", ImagePositionPatient=[-50, -60 + 2 * k, 0])
    inputs, problems, _ = find_inputs([tmp_path])
    assert len(inputs) == 2 and problems == []
    assert np.array_equal(inputs[0].read(LUNG, None, collecting()).hu, FIRST)
    with pytest.raises(ValueError, match="no axial series"):
        inputs[1].read(LUNG, None, collecting())


def test_single_slices_at_one_place_are_not_put_together(tmp_path):
    def single(k):
        return {"SeriesInstanceUID": f"1.2.9.{k}", "ImagePositionPatient": [-50, -60, 0]}

    write_pass(tmp_path, FIRST, "a", each=single)
    inputs, _ = scans(tmp_path)
    assert len(inputs) == 8


@pytest.mark.parametrize(
    ("each", "found"),
    [
        (lambda k: {"ImagePositionPatient": [-50, -60, 0]}, "8 slices at 1 position "),
        (lambda k: {"ImagePositionPatient": [-50, -60, k // 2]}, "8 slices at 4 positions"),
        (lambda k: {"ImagePositionPatient": [-50, -60, 2 * min(k, 5)]}, "8 slices at 6 positions"),
    ],
)
def test_positions_that_were_lost_are_refused(tmp_path, each, found):
    write_pass(tmp_path, FIRST, "a", each=each)
    for errors in ({}, {"errors": collecting()}):
        with pytest.raises(ValueError, match=rf"found {found}.*\.dcm and .*\.dcm both at"):
            read_volume(tmp_path, **errors)


def test_copies_of_files_are_noted_and_left_out(tmp_path):
    write_pass(tmp_path / "disc", FIRST, "a")
    (tmp_path / "disc" / "copy").mkdir()
    for path in list((tmp_path / "disc").glob("*.dcm")):
        (tmp_path / "disc" / "copy" / path.name).write_bytes(path.read_bytes())
    errors = collecting()
    assert np.array_equal(read_volume(tmp_path / "disc", errors=errors).hu, FIRST)
    assert len(errors.messages) == 8 and "a copy" in errors.messages[0]


@pytest.mark.parametrize("slices", [1, 2])
def test_a_second_pass_of_fewer_than_three_slices_is_no_scan(tmp_path, slices):
    """One slice where others lie is left out and listed, more are refused."""
    write_series(tmp_path / "a", lung_hu(8), SeriesInstanceUID="1.2", AcquisitionNumber=1)
    again = lung_hu(slices) + 7
    write_series(tmp_path / "b", again, SeriesInstanceUID="1.2", AcquisitionNumber=2)
    errors = collecting()
    if slices == 1:
        assert np.array_equal(read_volume(tmp_path, errors=errors).hu, lung_hu(8))
        assert "found a second slice at -100.00 mm" in errors.messages[0]
    else:
        with pytest.raises(ValueError, match="found 10 slices at 8 positions"):
            read_volume(tmp_path, errors=errors)
