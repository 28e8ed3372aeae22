"""Small data sets whose slices look different from patient to patient."""

import functools
import zlib

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image


@pytest.fixture(autouse=True)
def clean_catalogs(monkeypatch):
    """Every test leaves the catalogs as they were: all use the same few names of splits."""
    for catalog in (DatasetCatalog, MetadataCatalog):
        monkeypatch.setattr(catalog, "data", dict(catalog.data))


def draw(name, side=96):
    """A smooth grey picture that only this name has."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    coarse = Image.fromarray(rng.integers(0, 256, (24, 24), dtype=np.uint8))
    return coarse.resize((side, side), Image.Resampling.BICUBIC)


class Folder:
    """A folder of slices and lists."""

    def __init__(self, path):
        self.path = path

    def image(self, name, picture=None, **options):
        """Save a picture (default: the one of this name); returns the name."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (picture or draw(name)).save(path, **options)
        return name

    def split(self, name, *rows, header="file,label,patient,scan"):
        """Write a list; returns its path."""
        path = self.path / f"{name}.csv"
        path.write_text("\n".join([header, *rows]) + "\n")
        return str(path)

    def patients(self, split, patients, slices=2):
        """A list with some slices of each patient, of labels 0, 1, 2, 0, ..."""
        rows = [
            f"{self.image(f'{split}/{who}_{number}.png')},{index % 3},{who},{who}_S1"
            for index, who in enumerate(patients)
            for number in range(slices)
        ]
        return self.split(split, *rows)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


@pytest.fixture
def clean(folder):
    """Lists without any fault: (train, test)."""
    return folder.patients("train", ["a", "b", "c", "d"]), folder.patients("test", ["e", "f", "g"])


@pytest.fixture
def audit(command):
    """`ctmasknet audit`: its exit code, what it printed, and its errors."""
    return functools.partial(command, "audit")
