"""One volume, however it is stored; round trips."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import (
    COVID_CT_MD,
    ORIGIN,
    image_of,
    save_volume,
    write_series,
    write_slice,
)
from PIL import Image

from ctmasknet.errors import collecting
from ctmasknet.volumes.sitk_files import WRITABLE_SUFFIXES
from ctmasknet.volumes.volume_files import read_volume, write_volume

pytestmark = pytest.mark.slow  # whole networks, commands or data sets


def same_geometry(volume, other, atol):
    for name in ("spacing", "origin", "direction"):
        assert np.allclose(getattr(volume, name), getattr(other, name), atol=atol), name


@pytest.mark.parametrize("suffix", [*WRITABLE_SUFFIXES, ".mhd", ".nhdr"])
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_formats_and_types(tmp_path, hu, suffix, dtype):
    volume = read_volume(save_volume(tmp_path / f"case.1{suffix}", hu.astype(dtype)))
    kept = np.float32 if np.dtype(dtype).kind == "f" else np.int16
    assert volume.hu.dtype == kept and np.array_equal(volume.hu, hu)
    assert np.allclose(volume.spacing, (2.0, 0.7, 0.7)) and np.allclose(volume.origin, ORIGIN)
    assert volume.patient == volume.scan == "case.1"
    assert volume.windowed is None and volume.slice_files == () and volume.measured


def test_the_pixels_outlive_everything_else(tmp_path, hu):
    pixels = [
        read_volume(save_volume(tmp_path / f"a{suffix}", hu)).hu[3:] for suffix in WRITABLE_SUFFIXES
    ]
    for _ in range(20):  # would overwrite freed memory
        sitk.GetImageFromArray(np.zeros_like(hu))
    assert all(np.array_equal(part, hu[3:]) for part in pixels)


@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
@pytest.mark.parametrize("orientation", ["LPS", "RAS", "LAI", "PIR", "SAL", "ASR", "IRP"])
def test_every_orientation_comes_out_upright(tmp_path, hu, suffix, orientation):
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk.DICOMOrient(image_of(hu), orientation), str(path))
    volume = read_volume(path)
    assert np.array_equal(volume.hu, hu)
    assert np.allclose(volume.spacing, (2.0, 0.7, 0.7), atol=1e-4)
    assert np.allclose(volume.origin, ORIGIN, atol=1e-4)
    assert np.allclose(volume.direction, np.eye(3), atol=1e-6)


@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
@pytest.mark.parametrize("axes", [((1, 0, 0), (0, 1, 0)), ((-1, 0, 0), (0, -1, 0))])
def test_a_series_round_trips(tmp_path, hu, suffix, axes):
    write_series(tmp_path / "scan", hu, axes)
    volume = read_volume(tmp_path / "scan")
    path = tmp_path / "out" / f"copy{suffix}"
    write_volume(volume, path)
    copy = read_volume(path)
    assert copy.hu.dtype == volume.hu.dtype and np.array_equal(copy.hu, volume.hu)
    assert all(np.array_equal(a, b) for a, b in zip(copy.slices(), volume.slices(), strict=True))
    same_geometry(copy, volume, atol=1e-4)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.skipif(not COVID_CT_MD.is_dir(), reason=f"no {COVID_CT_MD}")
@pytest.mark.parametrize("suffix", [".nii.gz", ".mha"])
def test_a_real_series_round_trips(tmp_path, suffix):
    whole = read_volume(COVID_CT_MD / "P001")
    volume = replace(whole, hu=whole.hu[:8], slice_files=whole.slice_files[:8])
    write_volume(volume, tmp_path / f"P001{suffix}")
    copy = read_volume(tmp_path / f"P001{suffix}")
    assert np.array_equal(copy.hu, volume.hu)
    assert all(np.array_equal(a, b) for a, b in zip(copy.slices(), volume.slices(), strict=True))
    same_geometry(copy, volume, atol=1e-4)


def test_write_volume_refuses_other_names(tmp_path, hu):
    volume = read_volume(save_volume(tmp_path / "a.mha", hu))
    with pytest.raises(ValueError, match=r"b\.png: expected a name with one of \.nii"):
        write_volume(volume, tmp_path / "b.png")


def test_folders_that_are_ambiguous(tmp_path, hu):
    save_volume(tmp_path / "a.nii", hu)
    assert np.array_equal(read_volume(tmp_path).hu, hu)
    write_slice(tmp_path / "b.dcm", hu[0])
    with pytest.raises(ValueError, match="1 volume files .* beside DICOM files, expected one"):
        read_volume(tmp_path)
    (tmp_path / "b.dcm").unlink()
    save_volume(tmp_path / "b.mha", hu)
    with pytest.raises(ValueError, match=r"found 2 volume files \(a\.nii, \.\.\.\), expected one"):
        read_volume(tmp_path)
    folder = tmp_path / "images"
    for name in ("p1", "p2"):
        (folder / name).mkdir(parents=True)
        Image.new("L", (4, 4)).save(folder / name / "0.png")
    with pytest.raises(ValueError, match="images in 2 folders"):
        read_volume(folder)


@pytest.mark.parametrize("beside", ["scan.nii", "dicom"])
def test_masks_beside_a_scan_are_left_out_and_listed(tmp_path, hu, beside):
    if beside == "dicom":
        write_series(tmp_path / "scan", hu)
    else:
        save_volume(tmp_path / beside, hu)
    for name in ("lung.nii.gz", "lesions.seg.nrrd"):
        save_volume(tmp_path / name, (hu > 0).astype(np.uint8))
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.hu, hu)
    assert volume.skipped == tuple(
        f"{tmp_path / name}: a label map (mask), no CT: left out"
        for name in ("lesions.seg.nrrd", "lung.nii.gz")
    )
    errors = collecting()
    read_volume(tmp_path, errors=errors)
    assert tuple(errors.notes) == volume.skipped and errors.messages == []


def test_masks_among_a_stack_of_images_are_left_out(tmp_path, hu):
    grey = np.random.default_rng(0).integers(0, 255, (4, 16, 16)).astype(np.uint8)
    for k, pixels in enumerate(grey):
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
        Image.fromarray((pixels > 200).astype(np.uint8)).save(tmp_path / f"{k}_mask.png")
    volume = read_volume(tmp_path)
    assert len(volume) == 4 and "4 label maps (mask), no CT: 0_mask.png, ..." in volume.skipped[0]


def test_a_folder_of_masks_alone_is_no_scan(tmp_path, hu):
    for name in ("a.nii", "b.nii"):
        save_volume(tmp_path / name, (hu > 0).astype(np.uint8))
    with pytest.raises(ValueError, match="nothing but label maps"):
        read_volume(tmp_path)


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.nii: no such file or folder"):
        read_volume(tmp_path / "gone.nii")
    with pytest.raises(FileNotFoundError, match=r"gone\.zip"):
        read_volume(tmp_path / "gone.zip")
    with pytest.raises(ValueError, match="found no CT volume among 0 files"):
        read_volume(tmp_path)
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"a\.txt: no CT volume, expected a folder"):
        read_volume(tmp_path / "a.txt")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_label_maps_of_all_organs_are_told_by_their_patches(tmp_path, dtype):
    """More labels than few: 100 of 10 x 10 pixels, as whole-body segmentations have."""
    y, x = np.mgrid[:100, :100] // 10
    labels = np.repeat((10 * y + x + 1).astype(dtype)[None], 3, axis=0)
    labels[:, :5] = 0
    with pytest.raises(ValueError, match="found only 1.. whole values from 0 to 100.*label map"):
        read_volume(save_volume(tmp_path / "organs.nii.gz", labels))
    noise = np.random.default_rng(0).integers(-2, 3, labels.shape)
    grey = (labels.astype(int) + 50 + noise).astype(np.uint8)  # as flat as CT never is
    assert read_volume(save_volume(tmp_path / "ct.nii.gz", grey)).windowed
