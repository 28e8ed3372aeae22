"""Volume files whose values, type, header or length are not those of a CT volume."""

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import image_of, save_volume

from ctmasknet.errors import collecting
from ctmasknet.volumes.sitk_files import WRITABLE_SUFFIXES, _as_hu, _read_image
from ctmasknet.volumes.volume_files import read_volume


@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_nan(tmp_path, hu, suffix, dtype, value):
    values = hu.astype(dtype)
    values[2, 3, 4] = values[6, 0, :2] = value
    path = save_volume(tmp_path / f"a{suffix}", values)
    with pytest.raises(ValueError, match=r"found 3 values that are not.*first in slice 2 "):
        read_volume(path)
    volume = read_volume(path, errors=(errors := collecting()))
    hu[2, 3, 4] = hu[6, 0, :2] = -1024
    assert np.array_equal(volume.hu, hu)
    assert errors.messages[0].endswith("taken as -1024")


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha"])
def test_values_that_are_no_hu(tmp_path, hu, suffix):
    path = tmp_path / f"a{suffix}"
    for values, found in (
        (hu + 1024, "from 24 to 1064"),
        ((hu + 1024).astype(np.uint16), "from 24 to 1064"),
        ((hu + 1000).astype(np.float32) / 2000, "from 0 to 0.52"),
        (hu.astype(np.float32) * 1e6, r"from -1e\+09 to 4e\+07"),
        (hu.astype(np.float64) * 1e30, r"from -1e\+33 to 4e\+31"),
    ):
        save_volume(path, values)
        with pytest.raises(ValueError, match=rf"{found}, expected HU .*subtract 1024"):
            read_volume(path)
        with pytest.raises(ValueError, match="expected HU"):  # nothing to go on with
            read_volume(path, errors=collecting())


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
    with pytest.raises(ValueError, match="vector of 16-bit.*save a single channel"):
        read_volume(tmp_path / "vector.mha")


def test_unknown_orientation(tmp_path, hu):
    path = save_volume(tmp_path / "a.nii", hu)
    content = bytearray(path.read_bytes())
    content[252:256] = bytes(4)  # qform_code and sform_code
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.nii: found neither qform nor sform.*unknown"):
        read_volume(path)
    assert (
        len(read_volume(path, errors=(errors := collecting()))) == 8 and len(errors.messages) == 1
    )
    path = save_volume(tmp_path / "a.nrrd", hu)
    lines = path.read_bytes().split(b"\n\n", 1)
    header = [line for line in lines[0].split(b"\n") if not line.startswith(b"space")]
    path.write_bytes(b"\n".join([*header, b"spacings: 0.7 0.7 2"]) + b"\n\n" + lines[1])
    with pytest.raises(ValueError, match=r"a\.nrrd: found no 'space'"):
        read_volume(path)


def test_nifti_slope_and_intercept(tmp_path, hu):
    path = save_volume(tmp_path / "a.nii", (hu + 1024).astype(np.int16))
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([1, -1024], "<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(content)
    assert np.array_equal(read_volume(path).hu, hu)


@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
@pytest.mark.parametrize("keep", [0, 20, 300, -500, -9])
def test_truncated(tmp_path, suffix, keep):
    noise = np.random.default_rng(0).integers(-1000, 500, (9, 16, 16)).astype(np.int16)
    path = save_volume(tmp_path / f"a{suffix}", noise)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=rf"/a\{suffix}: cannot be (read as|decompressed)"):
        read_volume(path)


def test_integers_beyond_int16(tmp_path, hu):
    hu = hu.astype(np.int32)
    hu[5, 0, 0] = 70000
    for suffix in (".nii", ".mha"):
        volume = read_volume(save_volume(tmp_path / f"a{suffix}", hu))
        assert volume.hu.dtype == np.float32 and np.array_equal(volume.hu, hu)


def test_missing_pixels_are_called_so(tmp_path, hu, capfd):
    path = save_volume(tmp_path / "a.mha", hu)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"found 3996 bytes of pixels, expected 4096"):
        read_volume(path)
    sitk.WriteImage(image_of(hu), str(path), useCompression=True)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"a\.mha: .*bytes of pixels, expected"):
        read_volume(path)
    path = save_volume(tmp_path / "b.mhd", hu)
    assert np.array_equal(read_volume(path).hu, hu)
    (tmp_path / "b.raw").write_bytes(b"")
    with pytest.raises(ValueError, match=r"b\.mhd: .*found 0 bytes of pixels"):
        read_volume(path)
    (tmp_path / "b.raw").unlink()
    with pytest.raises(ValueError, match=r"b\.mhd: found no file b\.raw beside it"):
        read_volume(path)
    assert capfd.readouterr().err == ""  # ITK printed lines of its own


@pytest.mark.parametrize("dtype", [np.int32, np.float64, np.uint16])
@pytest.mark.parametrize("compressed", [False, True])
def test_metaimage_in_parts(tmp_path, hu, dtype, compressed):
    values = hu.copy() if np.dtype(dtype).kind != "u" else np.clip(hu, 0, None)
    path = tmp_path / "a.mha"
    sitk.WriteImage(image_of(values.astype(dtype)), str(path), useCompression=compressed)
    stored = _read_image(path, path, None)[0]
    assert np.array_equal(stored, values)
    assert stored.flags.writeable != compressed  # an array of our own, unlike ITK's whole image


def test_nan_is_replaced_without_a_further_copy(tmp_path):
    hu = np.array([[[-1000.0, np.nan]]])
    expected = np.array([[[-1000, -1024]]], np.float32)
    own, bad = hu.astype(np.float32), np.array([1])
    assert _as_hu(own, bad, tmp_path, collecting()) is own and np.array_equal(own, expected)
    hu.flags.writeable = False
    assert np.array_equal(_as_hu(hu, bad, tmp_path, collecting()), expected)


@pytest.mark.parametrize("factor", [1000, 1e-3])
def test_voxels_in_another_unit_than_mm(tmp_path, hu, factor):
    image = image_of(hu)
    image.SetSpacing([side * factor for side in image.GetSpacing()])
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    with pytest.raises(ValueError, match=r"a\.nrrd: found voxels of .*, expected 0\.01 to 100 mm"):
        read_volume(tmp_path / "a.nrrd", errors=collecting())


@pytest.mark.parametrize("slope, intercept", [(0, 0), (np.nan, np.nan), (1, np.nan), (-1, 0)])
def test_slopes_of_nifti_that_scale_nothing(tmp_path, hu, slope, intercept):
    path = save_volume(tmp_path / "a.nii", -hu if slope == -1 else hu)
    with path.open("r+b") as stream:
        stream.seek(112)
        stream.write(np.array([slope, intercept], "<f4").tobytes())
    assert np.array_equal(read_volume(path).hu, hu)
