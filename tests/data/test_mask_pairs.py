"""Which mask belongs to which image, and which patient."""

import pytest

from ctmasknet.data.mask_pairs import listed_pairs, pair_files, with_flattened_patients
from ctmasknet.errors import collecting


@pytest.fixture
def tree(tmp_path):
    def tree(*names):
        for name in names:
            for kind, suffix in (("image", "jpg"), ("mask", "png")):
                path = tmp_path / kind / f"{name}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        return pair_files(tmp_path / "image", tmp_path / "mask")

    return tree


def patients(pairs):
    return [extra.get("patient") for _, _, extra in pairs]


def test_nested_and_flattened(tree):
    assert patients(tree("7/55", "8/1")) == ["7", "8"]


def test_flattened_patients(tree):
    pairs = tree("7_55", "7_56", "other", "8_1_2")
    assert patients(pairs) == [None] * 4
    assert patients(with_flattened_patients(pairs)) == ["7", "7", None, None]


def test_nested_names_that_look_flat(tree):
    assert patients(with_flattened_patients(tree("a/7_55"))) == ["a"]


@pytest.mark.parametrize("names", [("7/55", "7/56", "17/55"), ("7_55", "7_56", "17_55")])
def test_published_list(tree, names, tmp_path):
    pairs = tree(*names)
    path = tmp_path / "list.txt"
    path.write_text("17_55.jpg\n\n7_55.jpg\n")
    chosen = [image.relative_to(tmp_path / "image") for image, _, _ in listed_pairs(pairs, path)]
    assert [str(image) for image in chosen] == [f"{names[2]}.jpg", f"{names[0]}.jpg"]
    path.write_text("7_55.jpg\n7_57.jpg\n")
    with pytest.raises(ValueError, match=r"list\.txt, line 2: 7_57\.jpg has no image and mask"):
        listed_pairs(pairs, path)
    path.write_text("7_55.jpg\n7_55.jpg\n")
    with pytest.raises(ValueError, match="line 2: .* is named twice"):
        listed_pairs(pairs, path)
    with pytest.raises(FileNotFoundError, match="no such list"):
        listed_pairs(pairs, tmp_path / "none.txt")


def test_files_without_the_other_are_listed(tree, tmp_path):
    tree("a/1", "a/2", "a/3")
    (tmp_path / "image/a/1.jpg").unlink()
    (tmp_path / "mask/a/2.png").unlink()
    errors = collecting()
    pairs = pair_files(tmp_path / "image", tmp_path / "mask", errors)
    assert [image.name for image, _, _ in pairs] == ["3.jpg"]
    no_mask, no_image = errors.messages
    assert "2.jpg: no mask" in no_mask and "1.png: no image" in no_image
    (tmp_path / "mask/a/3.png").unlink()
    with pytest.raises(ValueError, match="no image has a mask"):
        pair_files(tmp_path / "image", tmp_path / "mask", collecting())
