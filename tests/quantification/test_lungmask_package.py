"""The lung by lungmask, which is not installed: a module in its place, and what is said without."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from ctmasknet.extras import MissingExtraError
from ctmasknet.quantification import lungmask_package
from ctmasknet.quantification.lung_source import LungSource
from ctmasknet.quantification.lungmask_package import apply_lungmask


class Inferer:
    """Right lung 1, left lung 2, where HU are below -500."""

    made = 0

    def __init__(self, modelname, tqdm_disable):
        assert (modelname, tqdm_disable) == ("R231", True)
        type(self).made += 1

    def apply(self, hu):
        assert hu.dtype == np.int16 and hu.flags.c_contiguous and hu.min() >= -1024
        lung = np.where(hu < -500, 2, 0).astype(np.uint8)
        lung[..., : lung.shape[-1] // 2] //= 2
        return lung


@pytest.fixture
def lungmask(monkeypatch, tmp_path):
    """The package, and the file that should hold its weights."""
    module = ModuleType("lungmask.mask")
    module.MODEL_URLS = {"R231": ("https://host/releases/unet_r231-d5d2fc3d.pth", 3)}
    module.LMInferer = Inferer
    monkeypatch.setitem(sys.modules, "lungmask", ModuleType("lungmask"))
    monkeypatch.setitem(sys.modules, "lungmask.mask", module)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    lungmask_package._inferer.cache_clear()
    yield tmp_path / "checkpoints" / "unet_r231-d5d2fc3d.pth"
    lungmask_package._inferer.cache_clear()


def test_its_lungs_are_taken_as_they_are(lungmask):
    lungmask.parent.mkdir()
    lungmask.touch()
    hu = np.full((2, 6, 8), 40, np.float32)[::-1]
    hu[1, 2:4, 1:7] = -3000
    before = hu.copy()
    made = Inferer.made
    found = [apply_lungmask(hu) for _ in range(2)]
    assert (found[0].mask == (hu < -500)).all() and found[0].mask.dtype == bool
    assert not found[0].grows and found[0].lobes is None
    assert found[0].method == "lungmask of unknown version, model R231"
    assert (hu == before).all()
    assert Inferer.made == made + 1  # loaded once


def test_no_lung_is_an_error(lungmask):
    lungmask.parent.mkdir()
    lungmask.touch()
    with pytest.raises(ValueError, match="R231 found no lung"):
        apply_lungmask(np.zeros((1, 4, 4), np.int16))


def test_weights_are_not_fetched(lungmask):
    for ask in (lambda: apply_lungmask(np.zeros((1, 4, 4))), lambda: LungSource.parse("lungmask")):
        with pytest.raises(ValueError, match=f"{lungmask}: no such file.*put https://host/rel"):
            ask()


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "lungmask", None)
    monkeypatch.setitem(sys.modules, "lungmask.mask", None)
    with pytest.raises(MissingExtraError, match=r"needs lungmask.*'ctmasknet\[lungmask\]'"):
        LungSource.parse("lungmask")
