"""A small CT series that several files of tests read."""

import pytest
from dicom_files import lung_hu, write_series


@pytest.fixture
def hu():
    return lung_hu()


@pytest.fixture
def folder(tmp_path, hu):
    """Holds one DICOM series of `hu`."""
    write_series(tmp_path / "scan", hu)
    return tmp_path / "scan"
