"""The lungs of three real scans, which were looked at slice by slice."""

import numpy as np
import pytest
from dicom_files import COVID_CT_MD

from ctmasknet.data.window import LUNG
from ctmasknet.lung import find_lung
from ctmasknet.volumes import read_volume

pytestmark = [
    pytest.mark.slow,  # data sets
    pytest.mark.skipif(not COVID_CT_MD.is_dir(), reason=f"no {COVID_CT_MD}"),
]

# Litres; the slices that show lung, first and last.
SCANS = {"P001": (6.2, 0, 46), "cap001": (6.0, 4, 54), "normal001": (3.5, 4, 48)}

# What lies there, slice, column, row.
OUTSIDE = {
    "P001": [
        ("colon", 7, 300, 125),
        ("colon", 9, 290, 125),
        ("colon", 10, 399, 148),
        ("top of the colon", 11, 398, 150),
        ("trachea", 40, 238, 236),
        ("main bronchi, where they part", 31, 222, 248),
        ("right main bronchus", 29, 210, 248),
        ("left main bronchus", 29, 260, 248),
    ],
    "cap001": [
        ("colon", 5, 358, 169),
        ("colon", 8, 315, 195),
        ("colon", 8, 375, 232),
        ("trachea", 48, 238, 188),
        ("oesophagus", 45, 250, 240),
        ("main bronchi, where they part", 35, 218, 260),
        ("right main bronchus", 33, 200, 266),
        ("left main bronchus", 33, 276, 268),
    ],
    "normal001": [
        ("trachea", 44, 260, 244),
        ("right main bronchus", 34, 240, 266),
        ("left main bronchus", 34, 276, 272),
        ("left main bronchus", 31, 312, 280),
        ("right intermediate bronchus", 31, 214, 272),
    ],
}
INSIDE = {
    "P001": [
        ("ground glass at the pleura", 17, 162, 355),
        ("ground glass at the pleura", 19, 145, 355),
        ("ground glass at the pleura", 31, 349, 324),
    ],
    "cap001": [
        ("nodule at the pleura", 13, 375, 382),
        ("consolidation", 24, 68, 248),
        ("cavity at the pleura", 34, 76, 279),
    ],
    "normal001": [],
}


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


def test_both_lungs(scan):
    _, _, mask = scan
    right, left = np.count_nonzero(mask[..., :256]), np.count_nonzero(mask[..., 256:])
    assert 0.4 < right / (right + left) < 0.6


def test_gas_that_is_no_lung_and_lesions_that_are(scan):
    name, _, mask = scan
    for points, expected in (OUTSIDE, False), (INSIDE, True):
        for what, z, x, y in points[name]:
            around = mask[z, y - 2 : y + 3, x - 2 : x + 3]
            assert (around == expected).all(), f"{what} on slice {z}"


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
