import pytest
import torch

# The inputs are tiny: a second thread gains nothing and on a busy machine waits for a core.
torch.set_num_threads(1)


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
