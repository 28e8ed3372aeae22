import pytest
import torch

# The inputs are tiny: a second thread gains nothing and on a busy machine waits for a core.
torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="module")
def data_sets_of_the_file():
    """What the tests of a file register is forgotten after it: others use the same names."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    from ctmasknet.data import registration

    with pytest.MonkeyPatch.context() as patch:
        for catalog in (DatasetCatalog, MetadataCatalog):
            patch.setattr(catalog, "data", dict(catalog.data))
        for name in ("_SOURCES", "_FILES"):
            patch.setattr(registration, name, dict(getattr(registration, name)))
        yield


@pytest.fixture
def command(capsys):
    """Run `ctmasknet ...` in this process: its exit code, what it printed, and its errors."""
    from ctmasknet.__main__ import main

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([*map(str, arguments)])
        return (stop.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def two_threads():
    """Microbatches are computed side by side."""
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)
