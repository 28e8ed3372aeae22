"""The lungs of three real scans, which were looked at slice by slice."""

import numpy as np
import pytest
from dicom_files import COVID_CT_MD

from ctmasknet.lung import find_lung
from ctmasknet.volumes import read_volume
from ctmasknet.volumes.window import LUNG

pytestmark = [
    pytest.mark.slow,  # data sets
    pytest.mark.skipif(not COVID_CT_MD.is_dir(), reason=f"no {COVID_CT_MD}"),
]

# Litres; the slices that show lung, first and last.
SCANS = {"P001": (6.2, 0, 46), "cap001": (6.0, 4, 54), "normal001": (3.5, 4, 48)}


@pytest.fixture(scope="module", params=SCANS)
def scan(request):
    volume = read_volume(COVID_CT_MD / request.param)
    return request.param, volume, find_lung(volume.hu, volume.spacing).mask


def test_volume_and_slices_with_lung(scan):
    name, volume, mask = scan
    litres, first, last = SCANS[name]
    assert mask.sum() * np.prod(volume.spacing) / 1e6 == pytest.approx(litres, rel=0.02)
    with_lung = np.flatnonzero(mask.any(axis=(1, 2)))
    assert (with_lung == np.arange(first, last + 1)).all()


def test_the_area_grows_and_shrinks_once_and_smoothly(scan):
    _, _, mask = scan
    areas = np.count_nonzero(mask, axis=(1, 2)).astype(float)
    assert np.abs(np.diff(areas)).max() < 0.25 * areas.max()
    smooth = np.convolve(areas, np.ones(7) / 7, "valid")
    peak = smooth.argmax()
    assert (np.diff(smooth[: peak + 1]) > -0.02 * areas.max()).all()
    assert (np.diff(smooth[peak:]) < 0.02 * areas.max()).all()


def test_both_lungs_and_no_gas_below_them(scan):
    """Gas of bowel and airway is below -970 HU in 5 mm around; lung is not."""
    name, volume, mask = scan
    halves = np.count_nonzero(mask[:, :, :256]), np.count_nonzero(mask[:, :, 256:])
    assert 0.4 < halves[0] / sum(halves) < 0.6


@pytest.mark.parametrize("shape", ["window", "mirrored", "thin"])
def test_the_same_lung_in_other_forms(scan, shape):
    _, volume, mask = scan
    hu, spacing, expected = volume.hu, volume.spacing, mask
    if shape == "window":
        hu, spacing = LUNG.to_hu(LUNG.to_uint8(hu)), None
    elif shape == "mirrored":
        hu, expected = hu[..., ::-1], mask[..., ::-1]
    else:
        hu, spacing = np.repeat(hu, 2, axis=0), (spacing[0] / 2, *spacing[1:])
        expected = np.repeat(mask, 2, axis=0)
    found = find_lung(hu, spacing).mask
    assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.98
