import numpy as np
import pycocotools.mask as mask_util
import pytest

from ctmasknet.data.rle import compressed_rle

SIZE = (6, 5)
UNUSABLE = r"not a usable RLE of 6 x 5 pixels \(height x width\)"


def rle(counts, size=SIZE):
    return {"size": list(size), "counts": counts}


def encoded(mask):
    return mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()


@pytest.mark.parametrize("size", [(1, 1), (48, 64), (700, 900)])
def test_masks_are_the_same_after_as_before(size):
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.random((7, 9)) < 0.5, np.ones((100, 100), bool))[: size[0], : size[1]]
    noise = rng.random(size) < rng.random()
    for mask in (blocks, noise, ~noise, np.zeros(size), np.ones(size)):
        made = compressed_rle(rle(encoded(mask), size), size)
        assert made == rle(encoded(mask), size)
        assert (mask_util.decode(made) == mask).all()


def test_long_runs_and_long_steps_down():
    size = (20_000, 20_000)  # six characters
    for counts in ([3 * 10**8, 5, 7, 4, 10**8 - 16], [0, 4 * 10**8]):
        made = compressed_rle(rle(counts, size), size)
        assert compressed_rle(made, size) == made
        assert mask_util.area(made) == sum(counts[1::2])


@pytest.mark.parametrize(
    "counts",
    [
        *("", "0", "S75i0", "~~~~~~", "/", "\x00", "ü", "n0 ", "PPPPPPPPPPPPPP0", "P"),
        *(None, 30, True, 1.5, {}, [], [30.0], [True, 29], ["30"], [29], [31], [-1, 31]),
        *([10, -2, 22], [10**400], [float("nan")], [None], [[30]], [2**32, 30]),
    ],
)
def test_what_pycocotools_must_not_see(counts):
    with pytest.raises(ValueError, match=UNUSABLE):
        compressed_rle(rle(counts), SIZE)


def test_truncated_and_padded_strings():
    counts = encoded(np.random.default_rng(1).random((48, 64)) < 0.5)
    for bad in (counts[:-1], counts[: len(counts) // 2], counts + "0" * 2 + "1", counts + "P"):
        with pytest.raises(ValueError, match="not a usable RLE of 48 x 64"):
            compressed_rle(rle(bad, (48, 64)), (48, 64))


def test_random_strings_are_refused_or_right():
    rng = np.random.default_rng(2)
    accepted = 0
    for _ in range(5_000):
        counts = "".join(map(chr, rng.integers(ord("0") - 1, ord("0") + 20, rng.integers(1, 5))))
        try:
            made = compressed_rle(rle(counts), SIZE)
        except ValueError:
            continue
        accepted += 1
        assert mask_util.decode(made).sum() == mask_util.area(made)
    assert accepted > 5


def test_empty_runs_lose_nothing():
    # pycocotools' own intersection of this mask with itself has one pixel.
    made = compressed_rle(rle([1, 1, 0, 1, 27]), SIZE)
    assert made == compressed_rle(rle([1, 2, 27]), SIZE)
    assert mask_util.area(mask_util.merge([made, made], intersect=True)) == 2
    assert compressed_rle(rle([0, 30]), SIZE) == rle(encoded(np.ones(SIZE)))


def test_polygons():
    square = [1, 1, 4, 1, 4, 3, 1, 3]
    assert mask_util.area(compressed_rle([square, [1, 1]], SIZE)) == 6
    outside = [-5.0, -6, 10, -6, 10, 12, -5, 12]
    assert mask_util.area(compressed_rle([outside], SIZE)) == 30
    for bad in ([], [[1, 1, 2, 2]], [[1, 2, 3, 4, 5, 6, 7]]):
        with pytest.raises(ValueError, match="no valid polygon"):
            compressed_rle(bad, SIZE)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e9, -1e9, 10**400, 11, "2", None])
def test_polygons_out_of_reach(bad):
    with pytest.raises(ValueError, match="a polygon with .*, expected numbers within -5 to 10"):
        compressed_rle([[1, 1, bad, 1, 4, 3]], SIZE)


@pytest.mark.parametrize("bad", [1, "0", None, {"counts": "0"}, {"size": [6, 5]}])
def test_what_is_no_mask_at_all(bad):
    with pytest.raises((KeyError, TypeError)):
        compressed_rle(bad, SIZE)


def test_a_polygon_without_its_list():
    with pytest.raises(ValueError, match=r"no list of polygons, expected \[\[x, y, x, y, ...\]"):
        compressed_rle([1, 1, 4, 1, 4, 3], SIZE)


def test_another_size():
    for bad in ([5, 6], [6], [], 30, None):
        with pytest.raises(ValueError, match=r"a mask of size .*, expected \[6, 5\] as its image"):
            compressed_rle({"size": bad, "counts": [30]}, SIZE)
