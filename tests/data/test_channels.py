"""What three channels hold: of hand-made volumes, in files, and what other models refuse."""

import numpy as np
import pytest
from PIL import Image

from ctmasknet import get_cfg
from ctmasknet.data.channels import CHANNELS, slice_channels, write_channels
from ctmasknet.data.images import check_slice, read_slice
from ctmasknet.data.mapper import SliceMapper
from ctmasknet.data.window import LUNG, Window

HU = np.array([[[-1000, 40]], [[-600, 0]], [[150, 225]]], np.int16)  # 3 slices of 1 x 2 pixels


def test_grey_is_the_slice_three_times():
    found = slice_channels(HU, 1, LUNG, "grey")
    assert found.dtype == np.uint8
    assert found.tolist() == [[[128, 128, 128], [230, 230, 230]]]  # 127.5 to even; 229.5


def test_three_windows():
    """Mediastinum (350, 50) from -125, lung (1500, -600) from -1350, wide (2000, 0) from -1000."""
    assert slice_channels(HU, 0, LUNG, "windows").tolist() == [[[0, 60, 0], [120, 236, 133]]]
    assert slice_channels(HU, 2, LUNG, "windows").tolist() == [[[200, 255, 147], [255, 255, 156]]]
    own = Window(1000, 0)
    assert slice_channels(HU, 2, own, "windows")[..., 1].tolist() == [[166, 185]]


def test_neighbours_from_below_to_above_and_the_ends_for_themselves():
    grey = LUNG.to_uint8(HU)
    for z, near in ((0, (0, 0, 1)), (1, (0, 1, 2)), (2, (1, 2, 2))):
        found = slice_channels(HU, z, LUNG, "neighbours")
        for channel, other in enumerate(near):
            assert np.array_equal(found[..., channel], grey[other])
    with pytest.raises(ValueError, match="a single slice has no neighbours"):
        slice_channels(HU[:1], 0, LUNG, "neighbours")


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="INPUT.CHANNELS is 'rgb'; valid are grey, windows, neigh"):
        slice_channels(HU, 0, LUNG, "rgb")


@pytest.fixture
def files(tmp_path):
    """A file of each kind of channels, 64 x 80 pixels."""
    hu = np.random.default_rng(0).integers(-1000, 200, (3, 64, 80)).astype(np.int16)
    made = {}
    for channels in CHANNELS[1:]:
        made[channels] = tmp_path / f"{channels}.png"
        write_channels(made[channels], slice_channels(hu, 1, LUNG, channels), channels)
        assert np.array_equal(read_slice(made[channels]), slice_channels(hu, 1, LUNG, channels))
    made["grey"] = tmp_path / "grey.png"
    Image.fromarray(LUNG.to_uint8(hu[1])).save(made["grey"])
    return made


@pytest.mark.parametrize("wanted", CHANNELS)
@pytest.mark.parametrize("found", CHANNELS)
def test_a_slice_with_other_channels_is_refused(files, found, wanted):
    cfg = get_cfg()
    cfg.INPUT.CHANNELS, cfg.INPUT.MIN_SIZE_TEST = wanted, 64
    mapper = SliceMapper(cfg, is_train=False)
    record = {"file_name": str(files[found]), "image_id": 0}
    if found == wanted:
        assert check_slice(files[found], wanted) == (64, 80)
        image = mapper(record)["image"].numpy()
        assert cfg.INPUT.FORMAT == "BGR"
        assert np.array_equal(image[::-1].transpose(1, 2, 0), read_slice(files[found]))
        return
    match = rf"{found}.png: found a slice with the channels '{found}', but .* is '{wanted}'"
    with pytest.raises(ValueError, match=match):
        check_slice(files[found], wanted)
    with pytest.raises(ValueError, match=match):
        mapper(record)
