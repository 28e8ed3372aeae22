import pytest
import torch

# The inputs are tiny: a second thread gains nothing and on a busy machine waits for a core.
torch.set_num_threads(1)


@pytest.fixture
def two_threads():
    """Microbatches are computed side by side."""
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)
