"""The lung: found in drawn chests and phantoms, refused elsewhere, read in any orientation."""

import cv2
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from ctmasknet.data.phantom import draw_patient, draw_slice, window
from ctmasknet.data.phantom.anatomy import draw_shapes
from ctmasknet.data.window import LUNG
from ctmasknet.lung import find_lung
from ctmasknet.quantification.lung_files import read_lung_image, read_lung_mask
from ctmasknet.volumes.volume import upright_volume

SIZE = 200
SPACING = (5.0, 2.0, 2.0)  # an image of 400 mm, as one of unknown spacing is taken to be


def disc(centre, radii, size=SIZE):
    canvas = np.zeros((size, size), np.uint8)
    return cv2.ellipse(canvas, centre, radii, 0, 0, 360, 1, cv2.FILLED) > 0


LEFT, RIGHT = disc((140, 95), (22, 42)), disc((60, 95), (22, 42))
BODY = disc((100, 95), (80, 60))


def chest(lung=-850, slices=1):
    """HU (Z, 200, 200) of a body on a hollow table, with two lungs and a trachea between them."""
    hu = np.full((SIZE, SIZE), -1000, np.float32)
    hu[BODY] = 40
    hu[160:180, 5:195] = 100
    hu[161:179, 6:194] = -880
    hu[LEFT | RIGHT] = lung
    hu[disc((100, 95), (4, 4))] = -1000
    return np.stack([hu] * slices)


def dice(found, true):
    return 2 * (found & true).sum() / (found.sum() + true.sum())


@pytest.mark.parametrize("spacing", [SPACING, None])
@pytest.mark.parametrize("slices", [1, 3])
def test_both_lungs_without_trachea_and_table(spacing, slices):
    found = find_lung(chest(slices=slices), spacing)
    assert found.mask.shape == (slices, SIZE, SIZE) and found.mask.dtype == bool
    assert all((mask == (LEFT | RIGHT)).all() for mask in found.mask)
    assert found.grows
    assert "threshold and connected components" in found.method and "-320 HU" in found.method


def test_vessels_and_small_lesions_belong_to_the_lung_and_large_ones_do_not():
    hu = chest()
    vessel, small, large = disc((60, 95), (3, 3)), disc((80, 95), (2, 3)), disc((162, 95), (15, 25))
    hu[0][vessel | small | large] = 40
    mask = find_lung(hu, SPACING).mask[0]
    assert mask[vessel].all()
    assert mask[small & RIGHT].mean() > 0.8
    assert mask[large & LEFT].mean() < 0.3


def test_closing_is_in_mm():
    notch = np.zeros((SIZE, SIZE), bool)
    notch[93:98, 70:90] = True  # 5 pixels wide
    hu = chest()
    hu[0][notch] = 40
    narrow = find_lung(hu, (5, 2, 2)).mask[0]  # 10 mm
    wide = find_lung(hu, (5, 3.5, 3.5)).mask[0]  # 17.5 mm
    assert narrow[notch & RIGHT].mean() > 0.9
    assert wide[notch & RIGHT].mean() < 0.5


def test_the_heart_between_lungs_that_meet_is_no_hole():
    hu = chest()
    ring, heart = disc((100, 95), (55, 42)), disc((100, 95), (25, 30))
    hu[0][ring] = -850
    hu[0][heart] = 40
    mask = find_lung(hu, SPACING).mask[0]
    assert mask[disc((100, 95), (20, 25))].sum() == 0
    assert dice(mask, (ring | LEFT | RIGHT) & ~heart) > 0.98


def test_bowel_gas_is_no_lung():
    hu = chest(slices=2)
    gas = disc((100, 140), (10, 6))
    hu[0][gas] = -1000  # dark: gas
    hu[1][gas] = -600  # as stool, but a small part of the volume
    mask = find_lung(hu, SPACING).mask
    assert not mask[:, gas].any() and mask[:, LEFT].all()


def test_values_clipped_by_the_window_give_the_same_lung():
    hu = chest().astype(np.int16)
    clipped = LUNG.to_hu(LUNG.to_uint8(hu))
    before = hu.copy()
    assert (find_lung(hu, None).mask == find_lung(clipped, None).mask).all()
    assert (hu == before).all()


@pytest.mark.parametrize(("label", "lowest"), [(0, 0.97), (1, 0.93), (2, 0.97)])
def test_the_lungs_of_phantoms(label, lowest):
    patient = draw_patient(5, label, label)
    numbers = (600, 500, 400)
    hu = np.stack([draw_slice(patient, number, 256)[0] for number in numbers])
    true = np.stack([draw_shapes(patient.body, n / 999, 256).lung < 0 for n in numbers])
    assert dice(find_lung(hu, (6.0, 1.6, 1.6)).mask, true) > lowest
    grey = LUNG.to_hu(window(hu[:1]))
    assert dice(find_lung(grey, None).mask, true[:1]) > lowest


def body_with(*parts):
    hu = chest()
    hu[0][BODY] = 40
    for part, value in parts:
        hu[0][part] = value
    return hu


NOISE = np.random.default_rng(0).normal(-500, 500, (2, 128, 128)).astype(np.float32)
REFUSED = {
    "air": (np.full((2, 64, 64), -1000, np.int16), None, "no lung-like air"),
    "soft tissue": (np.full((2, 64, 64), 40, np.int16), None, "no lung-like air"),
    "noise": (NOISE, SPACING, "found"),
    "loud noise": (NOISE * 2 + 1000, None, "found"),
    "nothing": (np.zeros((1, 1, 1), np.int16), None, "no lung-like air"),
    "no body": (body_with((BODY, -1000)), SPACING, "no lung-like air"),
    "neck": (body_with((disc((100, 95), (6, 6)), -1000)), SPACING, "no lung-like air"),
    "abdomen": (
        body_with((disc((70, 70), (9, 6)), -1000), (disc((140, 80), (6, 6)), -600)),
        SPACING,
        "at most 0.8 % of the body's section",
    ),
    "all lung": (
        body_with((disc((100, 95), (74, 54)), -850)),
        SPACING,
        "found at most 8.*expected 5",
    ),
    "cut on one side": (chest()[:, :, 60:], None, "open to the image's border"),
    "cut on all sides": (chest(slices=2)[:, 60:130, 50:150], SPACING, "no lung-like.*uncropped"),
    "too dense": (chest(lung=-350), SPACING, "a mean of -350 HU"),
    "too large": (chest(), (200.0, 4.0, 4.0), "found 1[0-9]{4} ml, expected at most 10000 ml"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_lung_is_refused(what):
    hu, spacing, said = REFUSED[what]
    with pytest.raises(ValueError, match=f"no plausible lung: .*{said}"):
        find_lung(hu, spacing)


def test_one_slice_without_its_axis_is_refused():
    with pytest.raises(ValueError, match=r"shape \(200, 200\), expected \(Z, H, W\)"):
        find_lung(chest()[0], None)


@pytest.fixture
def scan(tmp_path):
    """A small volume, and its lung as it lies in it."""
    hu = np.zeros((3, 4, 6), np.int16)
    volume = upright_volume(hu, (5.0, 0.7, 0.7), (-30, -20, 100), np.eye(3), tmp_path / "scan.nii")
    lung = np.zeros(hu.shape, np.uint8)
    lung[1:, 0:2, 1:3] = 7
    return volume, lung


def write_mask(path, values, origin=(-30, -20, 100), spacing=(0.7, 0.7, 5.0), orientation="LPS"):
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    sitk.WriteImage(sitk.DICOMOrient(image, orientation), str(path))
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("orientation", ["LPS", "RAS", "LPI", "PIR"])
def test_a_mask_is_turned_upright_as_its_volume(tmp_path, scan, suffix, orientation):
    volume, lung = scan
    path = write_mask(tmp_path / f"lung{suffix}", lung, orientation=orientation)
    given = read_lung_mask(path, volume)
    assert given.mask.dtype == bool and (given.mask == (lung > 0)).all()
    assert given.method == f"given as lung{suffix}" and not given.grows


def test_labels_of_any_number_are_lung(tmp_path, scan):
    volume, lung = scan
    values = lung.astype(np.float32) * 5  # as of a lobe
    given = read_lung_mask(write_mask(tmp_path / "lung.nrrd", values), volume)
    assert (given.mask == (lung > 0)).all()


@pytest.mark.parametrize("value", [-1, 0.5, 256, np.nan])
def test_what_is_no_mask_is_refused(tmp_path, scan, value):
    """The scan itself, or probabilities, would pass for a lung that fills the image."""
    volume, lung = scan
    values = lung.astype(np.float32)
    values[0, 0, 0] = value
    with pytest.raises(ValueError, match="expected a lung mask: 0, and whole numbers"):
        read_lung_mask(write_mask(tmp_path / "lung.nrrd", values), volume)


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({"origin": (-30.2, -20, 100)}, True),
        ({"origin": (-30.6, -20, 100)}, False),
        ({"origin": (-30, -20, 105)}, False),
        ({"spacing": (0.7, 0.7, 4.0)}, False),
    ],
)
def test_a_mask_must_lie_where_its_volume_lies(tmp_path, scan, changes, fits):
    volume, lung = scan
    path = write_mask(tmp_path / "lung.mha", lung, **changes)
    if fits:
        assert (read_lung_mask(path, volume).mask == (lung > 0)).all()
        return
    with pytest.raises(ValueError, match=r"lung.mha: found a lung mask of 3 x 4 x 6.*resample"):
        read_lung_mask(path, volume)


def test_a_mask_of_another_size_is_refused(tmp_path, scan):
    volume, lung = scan
    path = write_mask(tmp_path / "lung.mha", lung[:2])
    with pytest.raises(ValueError, match=r"2 x 4 x 6 voxels.*expected .*scan.nii, 3 x 4 x 6"):
        read_lung_mask(path, volume)


def test_size_is_all_that_images_without_geometry_have(tmp_path):
    hu = np.zeros((3, 4, 6), np.int16)
    volume = upright_volume(hu, (1, 1, 1), (0, 0, 0), np.eye(3), tmp_path, measured=False)
    lung = np.ones(hu.shape, np.uint8)
    assert read_lung_mask(write_mask(tmp_path / "lung.mha", lung), volume).mask.all()
    with pytest.raises(ValueError, match="2 x 4 x 6 voxels .z, y, x.*expected"):
        read_lung_mask(write_mask(tmp_path / "small.mha", lung[:2]), volume)


def test_files_that_are_no_lung_mask_are_refused(tmp_path, scan):
    volume, lung = scan
    with pytest.raises(FileNotFoundError, match="none.nii: no such file"):
        read_lung_mask(tmp_path / "none.nii", volume)
    with pytest.raises(ValueError, match="empty lung mask"):
        read_lung_mask(write_mask(tmp_path / "empty.nii", lung * 0), volume)
    (tmp_path / "broken.nii").write_bytes(b"no NIfTI")
    with pytest.raises(ValueError, match=r"broken.nii: .*no NIfTI-1 header, 8 bytes"):
        read_lung_mask(tmp_path / "broken.nii", volume)
    Image.fromarray(lung[1]).save(tmp_path / "lung.png")
    with pytest.raises(ValueError, match=r"lung.png: no mask of a volume, expected one of .nii"):
        read_lung_mask(tmp_path / "lung.png", volume)
    colours = sitk.GetImageFromArray(np.ones((3, 4, 6, 3), np.uint8), isVector=True)
    sitk.WriteImage(colours, str(tmp_path / "colours.nrrd"))
    with pytest.raises(ValueError, match="colours.nrrd: found 3 dimensions of 'vector"):
        read_lung_mask(tmp_path / "colours.nrrd", volume)


def test_the_mask_of_a_slice(tmp_path):
    values = np.zeros((5, 7), np.uint8)
    values[1:3, 2] = 255
    path = tmp_path / "lung.png"
    Image.fromarray(values).save(path)
    given = read_lung_image(path, (5, 7))
    assert given.mask.shape == (1, 5, 7) and (given.mask[0] == (values > 0)).all()
    assert given.method == "given as lung.png" and not given.grows
    with pytest.raises(ValueError, match=r"size \(5, 7\) .*expected \(7, 5\)"):
        read_lung_image(path, (7, 5))
    Image.fromarray(values * 0).save(path)
    with pytest.raises(ValueError, match="empty lung mask"):
        read_lung_image(path, (5, 7))


def test_a_label_map_of_lobes(tmp_path, scan):
    volume, _ = scan
    lobes = np.zeros(volume.hu.shape, np.uint8)
    lobes[2, :, 4], lobes[0, :, 4], lobes[2, :, 1], lobes[1, :, 1], lobes[0, :, 1] = range(1, 6)
    path = write_mask(tmp_path / "lobes.nii.gz", lobes, orientation="RAS")
    given = read_lung_mask(path, volume)
    assert (given.lobes == lobes).all() and (given.mask == (lobes > 0)).all()
    assert given.method == "given as lobes.nii.gz, with lobes" and not given.grows
    lobes[lobes == 1] = 6
    with pytest.raises(ValueError, match="lobes.nii.gz: found the values 2, 3, 4, 5, 6, which do"):
        read_lung_mask(write_mask(path, lobes), volume)
