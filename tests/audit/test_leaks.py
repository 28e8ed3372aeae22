"""A patient, a scan or an image in two splits is found; nothing is found where nothing is."""

import numpy as np
import pytest
from PIL import Image

from ctmasknet.audit.findings import LEAKS, verdict
from ctmasknet.audit.images import image_facts
from ctmasknet.audit.near_duplicates import nearest_images
from ctmasknet.audit.records import splits_of_datasets
from ctmasknet.audit.run import run_audit


def leaks(*lists, **options):
    audit = run_audit(splits_of_datasets(lists), **options)
    return [finding for finding in audit.findings if finding.kind in LEAKS]


def append(path, row):
    with open(path, "a") as stream:
        stream.write(row + "\n")


def test_no_leak_where_there_is_none(clean):
    audit = run_audit(splits_of_datasets(clean))
    assert audit.findings == []
    assert verdict(audit.findings) == "no leak found"


def test_shared_patient(folder, clean):
    append(clean[1], f"{folder.image('test/again.png')},0,a,a_S2")
    (found,) = leaks(*clean)
    assert (found.kind, found.splits) == ("shared_patient", ("train", "test"))
    assert "patient a: 2 slices in train, 1 in test" in found.message


def test_shared_scan_of_a_patient_under_two_names(folder, clean):
    append(clean[1], f"{folder.image('test/again.png')},0,somebody,b_S1")
    (found,) = leaks(*clean)
    assert found.kind == "shared_scan"
    assert "scan b_S1: 2 slices in train, 1 in test" in found.message


def test_scans_numbered_within_patients_are_told_apart(folder):
    one = folder.split(
        "train",
        *(f"{folder.image(f'{who}{scan}.png')},0,{who},{scan}" for who in "ab" for scan in "12"),
    )
    other = folder.split("test", *(f"{folder.image(f'c{n}.png')},0,c,{n}" for n in "12"))
    assert leaks(one, other) == []
    append(other, f"{folder.image('more.png')},0,a,1")
    assert [found.kind for found in leaks(one, other)] == ["shared_patient", "shared_scan"]


@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_same_pixels_under_another_name(folder, clean, suffix):
    picture = Image.open(folder.path / "train/c_1.png")
    append(clean[1], f"{folder.image(f'test/new.{suffix}', picture)},0,new,new")
    (found,) = leaks(*clean)
    assert found.kind == "identical_image"
    assert f"test/new.{suffix} (test)" in found.message
    assert "train/c_1.png (train)" in found.message


@pytest.mark.parametrize(
    ("name", "side", "options"),
    [
        ("new.jpg", 96, {"quality": 40}),
        ("new.webp", 96, {"quality": 50}),
        ("new.png", 64, {}),
        ("new.jpg", 160, {"quality": 40}),
    ],
)
def test_image_saved_again_or_resized(folder, clean, name, side, options):
    picture = Image.open(folder.path / "train/c_1.png").resize((side, side))
    append(clean[1], f"{folder.image(name, picture, **options)},0,new,new")
    (found,) = leaks(*clean)
    assert found.kind == "near_image"
    assert [path.rpartition("/")[2] for path in found.images] == [name, "c_1.png"]
    assert leaks(*clean, max_bits=256) == [found]  # the correlation alone tells it from the others


def test_leak_between_the_second_and_third_split(folder, clean):
    picture = Image.open(folder.path / "test/e_0.png")
    third = folder.split("extra", f"{folder.image('x.jpg', picture, quality=50)},0,x,x")
    assert [found.splits for found in leaks(*clean, third)] == [("test", "extra")]


def test_unreadable_file_in_both_lists(folder, clean):
    (folder.path / "broken.png").write_bytes(b"")
    for path, who in zip(clean, "xy", strict=True):
        append(path, f"broken.png,0,{who},{who}")
    (found,) = leaks(*clean)
    assert found.kind == "identical_image"
    assert "broken.png: listed in train and in test" in found.message


def test_constant_images_are_no_leak(folder, clean):
    for path, who in zip(clean, "xy", strict=True):
        append(path, f"{folder.image(f'{who}.png', Image.new('L', (96, 96)))},0,{who},{who}")
    assert leaks(*clean) == []


def test_every_leak_is_counted(folder, clean):
    append(clean[1], f"{folder.image('more.png')},0,a,a_S1")
    found = leaks(*clean)
    assert verdict(found) == "2 leaks found"
    assert verdict(found[:1]) == "1 leak found"


def test_search_agrees_with_all_pairs(folder):
    """Row by row it finds what a plain double loop over bits does."""
    names = [folder.image(f"{index}.png") for index in range(12)]
    facts = [image_facts(str(folder.path / name)) for name in names]
    for quality, (index, fact) in zip((30, 60, 95), enumerate(facts), strict=False):
        picture = Image.open(folder.path / names[index])
        path = folder.path / folder.image(f"{index}.jpg", picture, quality=quality)
        again = image_facts(str(path))
        bits = [int(np.unpackbits((f.phash ^ again.phash).view(np.uint8)).sum()) for f in facts]
        assert np.argmin(bits) == index
        assert bits[index] <= 16 < sorted(bits)[1]
        found = nearest_images(facts, [again], max_bits=bits[index])
        assert found[0][:2] == (index, bits[index])
        assert nearest_images(facts, [again], max_bits=bits[index] - 1) == {}
        assert fact.digest != again.digest


def test_same_values_in_another_shape_are_another_image(folder):
    values = np.random.default_rng(0).integers(0, 255, (40, 60), dtype=np.uint8)
    folder.image("a.png", Image.fromarray(values))
    folder.image("b.png", Image.fromarray(values.reshape(60, 40)))
    one, other = (image_facts(str(folder.path / name)) for name in ("a.png", "b.png"))
    assert one.digest != other.digest


def test_a_patient_whose_number_is_written_otherwise(folder, clean):
    """Pandas turns 007 into 7, and into 7.0 where another line has none."""
    append(clean[0], f"{folder.image('train/again.png')},0,007,c_S9")
    append(clean[1], f"{folder.image('test/again.png')},0,7.0,d_S9")
    (found,) = leaks(*clean)
    assert "patient 007: 1 slices in train, 1 in test (there 7.0); keep" in found.message
