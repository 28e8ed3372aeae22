"""What a user points at, as scans and sets of slices."""

import shutil

import numpy as np
import pytest
from dicom_files import edit_tags, lung_hu, save_volume, write_series
from PIL import Image

from ctmasknet.data.window import LUNG
from ctmasknet.errors import collecting
from ctmasknet.inference.inputs import find_inputs


def write_images(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / name)


def described(paths, **options):
    inputs, problems, left_out = find_inputs(paths, **options)
    assert (problems, left_out) == ([], [])
    return {item.name: (item.is_scan, len(item.files)) for item in inputs}


def test_an_image_and_a_folder_of_images(tmp_path):
    write_images(tmp_path / "set", "b.png", "a.jpg")
    assert described([tmp_path / "set" / "b.png"]) == {"b": (False, 1)}
    assert described([tmp_path / "set"]) == {"set": (False, 2)}
    inputs, *_ = find_inputs([tmp_path / "set"])
    assert [path.name for path in inputs[0].files] == ["a.jpg", "b.png"]


def test_the_images_of_a_folder_as_one_scan(tmp_path):
    write_images(tmp_path / "set", "1.png", "2.png")
    assert described([tmp_path / "set"], as_scan=True) == {"set": (True, 2)}
    inputs, *_ = find_inputs([tmp_path / "set"], as_scan=True)
    assert len(inputs[0].read(LUNG, None, collecting())) == 2


def test_a_tree_of_anything(tmp_path):
    write_series(tmp_path / "study" / "P1", lung_hu(3))
    write_series(tmp_path / "study" / "P2" / "deep", lung_hu(4))
    write_images(tmp_path / "study" / "P1", "preview.png")
    write_images(tmp_path / "study" / "slices", "x.png")
    (tmp_path / "study" / "ct.nii.gz").write_bytes(b"")
    (tmp_path / "study" / "more.zip").write_bytes(b"")
    (tmp_path / "study" / "notes.txt").write_text("no input")
    inputs, problems, left_out = find_inputs([tmp_path / "study"])
    assert problems == [] and len(left_out) == 1 and "1 image beside DICOM files" in left_out[0]
    assert {item.name: (item.is_scan, len(item.files)) for item in inputs} == {
        "ct": (True, 0),
        "more": (True, 0),
        "P1": (True, 3),
        "deep": (True, 4),
        "slices": (False, 1),
    }


def test_series_of_one_folder_are_scans_of_their_own(tmp_path):
    hu = lung_hu(3)
    write_series(tmp_path / "mixed", hu, names=["a0", "a1", "a2"])
    write_series(tmp_path / "mixed", hu + 7, names=["b0", "b1", "b2"])
    inputs, *_ = find_inputs([tmp_path / "mixed"])
    assert len(inputs) == 2 and inputs[0].name != inputs[1].name
    volumes = [item.read(LUNG, None, collecting()) for item in inputs]
    np.testing.assert_array_equal(volumes[1].hu, volumes[0].hu + 7)
    assert volumes[0].source == tmp_path / "mixed"


def test_a_series_may_lie_in_several_folders(tmp_path):
    paths = write_series(tmp_path / "disc" / "A", lung_hu(4))
    (tmp_path / "disc" / "B").mkdir()
    for path in paths[2:]:
        shutil.move(path, tmp_path / "disc" / "B")
    (item,), *_ = find_inputs([tmp_path / "disc"])
    assert item.name == "disc" and len(item.read(LUNG, None, collecting())) == 4


@pytest.mark.parametrize("keep", [200, 400, 500])  # 400: within the SOP class's UID
def test_a_damaged_file_goes_with_the_series_of_its_folder(tmp_path, keep):
    paths = write_series(tmp_path / "scan", lung_hu(6))
    paths[5].write_bytes(paths[5].read_bytes()[:keep])
    (item,), problems, _ = find_inputs([tmp_path / "scan"])
    assert problems == []
    errors = collecting()
    assert len(item.read(LUNG, None, errors)) == 5
    assert len(errors.messages) == 1 and "005.dcm" in errors.messages[0]


def test_damaged_files_alone_are_an_input_that_cannot_be_read(tmp_path):
    (path,) = write_series(tmp_path / "scan", lung_hu(1))
    path.write_bytes(path.read_bytes()[:200])
    (item,), problems, _ = find_inputs([tmp_path])
    assert item.name == "scan" and problems == []
    with pytest.raises(ValueError, match="000.dcm"):
        item.read(LUNG, None, collecting())


def test_images_beside_a_damaged_file_stay(tmp_path):
    write_images(tmp_path / "set", "a.png", "b.png")
    (tmp_path / "set" / "x.dcm").write_bytes(b"?")
    assert described([tmp_path / "set"]) == {
        f"{tmp_path.name}_set": (True, 1),
        f"{tmp_path.name}_set_2": (False, 2),
    }


def test_names_too_long_for_what_is_added_are_cut(tmp_path):
    write_images(tmp_path, "y" * 246 + ".png", "y" * 245 + ".png")
    files = sorted(tmp_path.iterdir())
    names = list(described(files))
    assert len(names) == 2 and max(map(len, names)) <= 210


def test_images_as_scans_folder_by_folder(tmp_path):
    write_images(tmp_path / "set", "1.png", "2.png")
    write_images(tmp_path / "set" / "sub", "3.png")
    (tmp_path / "set" / "ct.nii").write_bytes(b"")
    assert described([tmp_path / "set"], as_scan=True) == {
        "ct": (True, 0),
        "set": (True, 2),
        "sub": (True, 1),
    }
    inputs, *_ = find_inputs([tmp_path / "set"], as_scan=True)
    assert [len(item.read(LUNG, None, collecting())) for item in inputs[1:]] == [2, 1]


def test_a_link_keeps_its_own_name(tmp_path):
    (tmp_path / "store").mkdir()
    write_images(tmp_path / "store", "MD5-s99.png")
    (tmp_path / "patient7.png").symlink_to(tmp_path / "store" / "MD5-s99.png")
    assert described([tmp_path / "patient7.png"]) == {"patient7": (False, 1)}


def test_voxels_beside_a_header_belong_to_the_state(tmp_path):
    for suffix in ("mhd", "raw", "txt"):
        (tmp_path / f"ct.{suffix}").write_bytes(b"x")
    (tmp_path / "other.raw").write_bytes(b"x")
    (item,), *_ = find_inputs([tmp_path / "ct.mhd"])
    before = item.state()
    (tmp_path / "ct.raw").write_bytes(b"xy")
    assert item.state() != before
    before = item.state()
    (tmp_path / "other.raw").write_bytes(b"xy")
    assert item.state() == before


def test_scouts_and_reports_are_left_out_without_a_problem(tmp_path):
    write_series(tmp_path / "scan", lung_hu(3))
    (scout,) = write_series(tmp_path / "scan", lung_hu(1), names=["scout.dcm"])
    edit_tags(scout, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    (report,) = write_series(tmp_path / "scan", lung_hu(1), names=["report.dcm"])
    edit_tags(report, Modality="SR")
    (item,), problems, left_out = find_inputs([tmp_path / "scan"])
    assert len(item.files) == 3 and problems == []
    assert len(left_out) == 2 and "no axial CT slices" in left_out[0]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda folder: folder / "none", "none: no such file or folder"),
        (lambda folder: folder, "found nothing to predict"),
    ],
)
def test_nothing_there(tmp_path, make, message):
    inputs, problems, _ = find_inputs([make(tmp_path)])
    assert inputs == [] and len(problems) == 1 and message in problems[0]


def test_equal_names_are_told_apart(tmp_path):
    for folder in ("a", "b"):
        write_images(tmp_path / folder, "x.png")
    write_images(tmp_path / "deep" / "a", "x.png")
    files = [tmp_path / name for name in ("a/x.png", "b/x.png", "deep/a/x.png", "a")]
    assert list(described(files)) == ["a_x", "b_x", "a_x_2", "a"]


def test_a_changed_file_changes_the_state(tmp_path):
    write_series(tmp_path / "scan", lung_hu(3))
    (item,), *_ = find_inputs([tmp_path / "scan"])
    before = item.state()
    assert item.state() == before and len(before) == 3
    with (tmp_path / "scan" / "000.dcm").open("ab") as stream:
        stream.write(b"more")
    assert item.state() != before


def test_the_state_of_a_folder_taken_as_a_scan(tmp_path):
    write_images(tmp_path / "set", "1.png", "2.png")
    (item,), *_ = find_inputs([tmp_path / "set"], as_scan=True)
    assert [name for name, *_ in item.state()] == [
        str(tmp_path / "set" / name) for name in ("1.png", "2.png")
    ]


def test_label_maps_beside_scans_are_left_out(tmp_path):
    noise = np.random.default_rng(0).integers(0, 250, (4, 16, 16))
    lesions = (noise > 200).astype(np.uint8)
    save_volume(tmp_path / "ct.nii.gz", lung_hu(4))
    save_volume(tmp_path / "windowed.nrrd", noise.astype(np.uint8))
    for name in ("lung.nii.gz", "lesion.seg.nrrd", "mask.mha"):
        save_volume(tmp_path / name, lesions)
    save_volume(tmp_path / "float.nii", lesions.astype(np.float32))
    save_volume(tmp_path / "int16.nii", (lesions * 255).astype(np.int16))
    inputs, problems, left_out = find_inputs([tmp_path])
    assert [item.name for item in inputs] == ["ct", "windowed"] and problems == []
    assert len(left_out) == 5 and all("a label map (mask), no CT" in line for line in left_out)
    with pytest.raises(ValueError, match="found only 2 whole values from 0 to 1.* a label map"):
        find_inputs([tmp_path / "mask.mha"])[0][0].read(LUNG, None, collecting())


def test_mask_images_are_left_out(tmp_path):
    noise = np.random.default_rng(0).integers(0, 250, (6, 32, 32)).astype(np.uint8)
    for folder in ("image", "mask", "both"):
        (tmp_path / folder).mkdir()
    for k, pixels in enumerate(noise):
        mask = Image.fromarray((pixels > 200).astype(np.uint8) * (k != 2))  # 2 has no lesion
        Image.fromarray(pixels).save(tmp_path / "image" / f"{k}.png")
        mask.save(tmp_path / "mask" / f"{k}.png")
        Image.fromarray(pixels).save(tmp_path / "both" / f"{k}.png")
        mask.save(tmp_path / "both" / f"{k}_mask.png")
    inputs, problems, left_out = find_inputs([tmp_path])
    assert {item.name: len(item.files) for item in inputs} == {"image": 6, "both": 7}
    assert problems == [] and any("6 label maps (mask), no CT: 0.png" in line for line in left_out)


def test_what_may_be_a_scan_but_is_not_read_is_listed(tmp_path):
    save_volume(tmp_path / "a.nii", lung_hu(3))
    for name in ("b.hdr", "b.img", "c.tar.gz", "d.7z", "notes.txt"):
        (tmp_path / name).write_bytes(b"abc")
    (item,), problems, left_out = find_inputs([tmp_path])
    assert item.name == "a" and problems == []
    assert [line.partition(": ")[2].partition(":")[0] for line in left_out] == [
        "1 .hdr file",
        "1 .img file",
        "1 .gz file",
        "1 .7z file",
    ]


def test_pictures_on_a_medium_with_a_dicomdir_are_no_slices(tmp_path):
    write_series(tmp_path / "cd" / "DICOM", lung_hu(3))
    noise = np.random.default_rng(0).integers(0, 250, (16, 16), dtype=np.uint8)
    (tmp_path / "cd" / "viewer").mkdir()
    Image.fromarray(noise).save(tmp_path / "cd" / "viewer" / "logo.png")
    assert list(described([tmp_path / "cd"])) == ["DICOM", "viewer"]
    (tmp_path / "cd" / "DICOMDIR").write_bytes(b"")
    (scan,), problems, left_out = find_inputs([tmp_path])
    assert scan.name == "DICOM" and problems == [] and "viewer: 1 image beside" in left_out[0]
