"""8-bit slices and volumes, which have a window already."""

import logging
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import save_volume
from PIL import Image

from ctmasknet.data.window import LUNG, say_windowed_once
from ctmasknet.errors import collecting
from ctmasknet.volumes.sitk_files import WRITABLE_SUFFIXES
from ctmasknet.volumes.volume_files import read_volume, write_volume


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
    colours = np.stack([grey[1]] * 3, axis=-1)
    colours[0, 0] = (9, 0, 0)
    Image.fromarray(colours).save(folder / "s_4.png")
    Image.new("I;16", (12, 16)).save(folder / "s_5.png")
    Image.fromarray(np.stack([grey[1]] * 3, axis=-1)).save(folder / "s_6.png")  # grey as RGB
    with pytest.raises(ValueError, match=r"s_4\.png: found colours"):
        read_volume(folder)
    volume = read_volume(folder, errors=(errors := collecting()))
    assert [Path(file).name for file in volume.slice_files] == [
        "s_1.png",
        "s_2.png",
        "s_6.png",
        "s_10.png",
    ]
    assert len(errors.messages) == 3
    assert (
        "s_3.png: found 8 x 12 pixels, expected 16 x 12 as in 4 of 5 images" in errors.messages[2]
    )
    for name in ("s_4.png", "s_5.png"):
        (folder / name).unlink()
    with pytest.raises(ValueError, match=r"s_3\.png: found 8 x 12"):
        read_volume(folder)


@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
def test_8_bit_volume_is_windowed_and_stays_so(tmp_path, stack, suffix):
    grey = stack[1]
    volume = read_volume(save_volume(tmp_path / f"a{suffix}", grey))
    assert volume.windowed == LUNG and volume.measured
    assert np.array_equal(np.stack(list(volume.slices()))[..., 0], grey)
    write_volume(volume, tmp_path / f"b{suffix}")
    assert sitk.ReadImage(tmp_path / f"b{suffix}").GetPixelID() == sitk.sitkUInt8
