"""One volume, however it is stored; round trips; files that hold no HU."""

import logging
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import lung_hu, write_series, write_slice
from PIL import Image

from ctmasknet.data.volume_files import read_volume, write_volume
from ctmasknet.data.window import LUNG, say_windowed_once

COVID_CT_MD = (
    Path(
        os.environ.get("CTMASKNET_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data"
    )
    / "covid_ct_md"
)
SUFFIXES = [".nii", ".nii.gz", ".mha", ".nrrd"]
SPACING, ORIGIN = (0.7, 0.7, 2.0), (-50.0, -60.0, -100.0)


@pytest.fixture
def hu():
    return lung_hu()


def image_of(array, spacing=SPACING):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(ORIGIN)
    return image


def save(path, array, **options):
    sitk.WriteImage(image_of(array, **options), str(path))
    return path


def same_geometry(volume, other, atol):
    for name in ("spacing", "origin", "direction"):
        assert np.allclose(getattr(volume, name), getattr(other, name), atol=atol), name


def zip_folder(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".mhd", ".nhdr"])
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_formats_and_types(tmp_path, hu, suffix, dtype):
    volume = read_volume(save(tmp_path / f"case.1{suffix}", hu.astype(dtype)))
    kept = np.float32 if np.dtype(dtype).kind == "f" else np.int16
    assert volume.hu.dtype == kept and np.array_equal(volume.hu, hu)
    assert np.allclose(volume.spacing, (2.0, 0.7, 0.7)) and np.allclose(volume.origin, ORIGIN)
    assert volume.patient == volume.scan == "case.1"
    assert volume.windowed is None and volume.slice_files == () and volume.measured


def test_the_pixels_outlive_everything_else(tmp_path, hu):
    pixels = [read_volume(save(tmp_path / f"a{suffix}", hu)).hu[3:] for suffix in SUFFIXES]
    for _ in range(20):  # would overwrite freed memory
        sitk.GetImageFromArray(np.zeros_like(hu))
    assert all(np.array_equal(part, hu[3:]) for part in pixels)


def test_integers_beyond_int16(tmp_path, hu):
    hu = hu.astype(np.int32)
    hu[5, 0, 0] = 70000
    for suffix in (".nii", ".mha"):
        volume = read_volume(save(tmp_path / f"a{suffix}", hu))
        assert volume.hu.dtype == np.float32 and np.array_equal(volume.hu, hu)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("orientation", ["LPS", "RAS", "LAI", "PIR", "SAL", "ASR", "IRP"])
def test_every_orientation_comes_out_upright(tmp_path, hu, suffix, orientation):
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk.DICOMOrient(image_of(hu), orientation), str(path))
    volume = read_volume(path)
    assert np.array_equal(volume.hu, hu)
    assert np.allclose(volume.spacing, (2.0, 0.7, 0.7), atol=1e-4)
    assert np.allclose(volume.origin, ORIGIN, atol=1e-4)
    assert np.allclose(volume.direction, np.eye(3), atol=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
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
    volume = read_volume(COVID_CT_MD / "P001")
    write_volume(volume, tmp_path / f"P001{suffix}")
    copy = read_volume(tmp_path / f"P001{suffix}")
    assert np.array_equal(copy.hu, volume.hu)
    assert all(np.array_equal(a, b) for a, b in zip(copy.slices(), volume.slices(), strict=True))
    same_geometry(copy, volume, atol=1e-4)


def test_write_volume_refuses_other_names(tmp_path, hu):
    volume = read_volume(save(tmp_path / "a.mha", hu))
    with pytest.raises(ValueError, match=r"b\.png: expected a name with one of \.nii"):
        write_volume(volume, tmp_path / "b.png")


def test_zip_of_a_series(tmp_path, hu):
    write_series(tmp_path / "scan" / "deep", hu)
    path = zip_folder(tmp_path / "scan", tmp_path / "scan.zip")
    volume = read_volume(path)
    assert np.array_equal(volume.hu, hu) and volume.source == path
    assert volume.slice_files[0] == f"{path}!deep/000.dcm"
    (tmp_path / "scan" / "deep" / "003.dcm").write_bytes(b"")
    zip_folder(tmp_path / "scan", path)
    with pytest.raises(ValueError, match=r"scan\.zip!deep/003\.dcm: cannot be read as DICOM"):
        read_volume(path)
    skipped = []
    volume = read_volume(path, skipped=skipped)
    assert list(volume.skipped) == skipped and len(volume) == 7
    assert skipped[0].startswith(f"{path}!deep/003.dcm") and skipped[1].startswith(f"{path}: ")


def test_zip_of_one_file_and_bad_zips(tmp_path, hu):
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "a.nii.gz", hu)
    path = zip_folder(tmp_path / "in", tmp_path / "a.zip")
    assert np.array_equal(read_volume(path).hu, hu)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"a\.zip: cannot be unpacked"):
        read_volume(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README.txt", "hello")
    with pytest.raises(ValueError, match=r"a\.zip: found no CT volume among 1 files"):
        read_volume(path)


@pytest.fixture
def stack(tmp_path):
    """Slices 1, 2 and 10, the lowest first."""
    grey = np.arange(3 * 16 * 12, dtype=np.uint16).reshape(3, 16, 12).astype(np.uint8)
    (tmp_path / "stack").mkdir()
    for name, pixels in zip(("s_1.png", "s_2.png", "s_10.png"), grey, strict=True):
        Image.fromarray(pixels).save(tmp_path / "stack" / name)
    return tmp_path / "stack", grey


def test_stack_of_images(stack, caplog):
    say_windowed_once.cache_clear()
    folder, grey = stack
    with caplog.at_level(logging.INFO):
        volume = read_volume(folder)
        read_volume(folder / "s_1.png")
    assert [Path(file).name for file in volume.slice_files] == ["s_1.png", "s_2.png", "s_10.png"]
    assert volume.windowed == LUNG and not volume.measured
    assert np.array_equal(np.stack(list(volume.slices()))[..., 1], grey)
    assert volume.hu.min() == -1350 and volume.hu.max() == 150
    assert caplog.text.count("as already windowed") == 1
    volume = read_volume(folder, window="mediastinum")
    assert np.array_equal(volume.slice(2)[..., 0], grey[2])
    with pytest.raises(ValueError, match="cannot be made"):
        volume.slice(0, "lung")
    assert np.array_equal(read_volume(folder / "s_2.png").slice(0)[..., 0], grey[1])


def test_bad_images_of_a_stack(stack):
    folder, grey = stack
    Image.fromarray(grey[0, :8]).save(folder / "s_3.png")
    colours = np.zeros((16, 12, 3), np.uint8)
    colours[0, 0] = (9, 0, 0)
    Image.fromarray(colours).save(folder / "s_4.png")
    Image.new("I;16", (12, 16)).save(folder / "s_5.png")
    Image.fromarray(np.stack([grey[1]] * 3, axis=-1)).save(folder / "s_6.png")  # grey as RGB
    with pytest.raises(ValueError, match=r"s_4\.png: found colours"):
        read_volume(folder)
    volume = read_volume(folder, skipped=(skipped := []))
    assert [Path(file).name for file in volume.slice_files] == [
        "s_1.png",
        "s_2.png",
        "s_6.png",
        "s_10.png",
    ]
    assert len(skipped) == 3
    assert "s_3.png: found 8 x 12 pixels, expected 16 x 12 as in 4 of 5 images" in skipped[2]
    for name in ("s_4.png", "s_5.png"):
        (folder / name).unlink()
    with pytest.raises(ValueError, match=r"s_3\.png: found 8 x 12"):
        read_volume(folder)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_8_bit_volume_is_windowed_and_stays_so(tmp_path, stack, suffix):
    grey = stack[1]
    volume = read_volume(save(tmp_path / f"a{suffix}", grey))
    assert volume.windowed == LUNG and volume.measured
    assert np.array_equal(np.stack(list(volume.slices()))[..., 0], grey)
    write_volume(volume, tmp_path / f"b{suffix}")
    assert sitk.ReadImage(tmp_path / f"b{suffix}").GetPixelID() == sitk.sitkUInt8


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_nan(tmp_path, hu, suffix, dtype, value):
    values = hu.astype(dtype)
    values[2, 3, 4] = values[6, 0, :2] = value
    path = save(tmp_path / f"a{suffix}", values)
    with pytest.raises(ValueError, match=r"found 3 values that are not.*first in slice 2 "):
        read_volume(path)
    volume = read_volume(path, skipped=(skipped := []))
    hu[2, 3, 4] = hu[6, 0, :2] = -1024
    assert np.array_equal(volume.hu, hu)
    assert skipped[0].endswith("taken as -1024")


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha"])
def test_values_that_are_no_hu(tmp_path, hu, suffix):
    path = tmp_path / f"a{suffix}"
    for values, found in (
        (hu + 1024, "from 24 to 1064"),
        ((hu + 1024).astype(np.uint16), "from 24 to 1064"),
        ((hu + 1000).astype(np.float32) / 2000, "from 0 to 0.52"),
    ):
        save(path, values)
        with pytest.raises(ValueError, match=rf"{found}, expected HU .*subtract 1024"):
            read_volume(path)
        with pytest.raises(ValueError, match="expected HU"):  # nothing to go on with
            read_volume(path, skipped=[])


def test_dimensions_and_pixel_types(tmp_path, hu):
    four = sitk.JoinSeries([image_of(hu)])
    sitk.WriteImage(four, str(tmp_path / "one.nii.gz"))
    volume = read_volume(tmp_path / "one.nii.gz")
    assert np.array_equal(volume.hu, hu) and np.allclose(volume.spacing, (2.0, 0.7, 0.7))
    sitk.WriteImage(four, str(tmp_path / "one.mha"))
    assert np.array_equal(read_volume(tmp_path / "one.mha").hu, hu)
    sitk.WriteImage(sitk.JoinSeries([image_of(hu)] * 2), str(tmp_path / "two.nii"))
    with pytest.raises(ValueError, match=r"4 dimensions \(16 x 16 x 8 x 2\), expected 3"):
        read_volume(tmp_path / "two.nii")
    sitk.WriteImage(image_of(hu)[:, :, 0], str(tmp_path / "flat.mha"))
    with pytest.raises(ValueError, match="2 dimensions"):
        read_volume(tmp_path / "flat.mha")
    sitk.WriteImage(sitk.Compose(image_of(hu), image_of(hu)), str(tmp_path / "vector.mha"))
    with pytest.raises(ValueError, match="vector of 16-bit"):
        read_volume(tmp_path / "vector.mha")


def test_unknown_orientation(tmp_path, hu):
    path = save(tmp_path / "a.nii", hu)
    content = bytearray(path.read_bytes())
    content[252:256] = bytes(4)  # qform_code and sform_code
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.nii: found neither qform nor sform.*unknown"):
        read_volume(path)
    assert len(read_volume(path, skipped=(skipped := []))) == 8 and len(skipped) == 1
    path = save(tmp_path / "a.nrrd", hu)
    lines = path.read_bytes().split(b"\n\n", 1)
    header = [line for line in lines[0].split(b"\n") if not line.startswith(b"space")]
    path.write_bytes(b"\n".join([*header, b"spacings: 0.7 0.7 2"]) + b"\n\n" + lines[1])
    with pytest.raises(ValueError, match=r"a\.nrrd: found no 'space'"):
        read_volume(path)


def test_nifti_slope_and_intercept(tmp_path, hu):
    path = save(tmp_path / "a.nii", (hu + 1024).astype(np.int16))
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([1, -1024], "<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(content)
    assert np.array_equal(read_volume(path).hu, hu)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("keep", [0, 20, 300, -500, -9])
def test_truncated(tmp_path, suffix, keep):
    noise = np.random.default_rng(0).integers(-1000, 500, (9, 16, 16)).astype(np.int16)
    path = save(tmp_path / f"a{suffix}", noise)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=rf"/a\{suffix}: cannot be (read as|decompressed)"):
        read_volume(path)


def test_folders_that_are_ambiguous(tmp_path, hu):
    save(tmp_path / "a.nii", hu)
    assert np.array_equal(read_volume(tmp_path).hu, hu)
    write_slice(tmp_path / "b.dcm", hu[0])
    with pytest.raises(ValueError, match="1 volume files .* beside DICOM files, expected one"):
        read_volume(tmp_path)
    (tmp_path / "b.dcm").unlink()
    save(tmp_path / "b.mha", hu)
    with pytest.raises(ValueError, match=r"found 2 volume files \(a\.nii, \.\.\.\), expected one"):
        read_volume(tmp_path)
    folder = tmp_path / "images"
    for name in ("p1", "p2"):
        (folder / name).mkdir(parents=True)
        Image.new("L", (4, 4)).save(folder / name / "0.png")
    with pytest.raises(ValueError, match="images in 2 folders"):
        read_volume(folder)


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
