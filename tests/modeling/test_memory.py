import platform
import resource
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from ctmasknet.modeling.memory import keep_freed_memory

if "keep" in sys.argv:
    keep_freed_memory()
for _ in range(20):
    activations = [torch.ones(2**24, dtype=torch.uint8) for _ in range(6)]  # alive together
    del activations
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_freed_memory_is_not_mapped_anew():
    def faults(*args):
        command = [sys.executable, "-c", FAULTS, *args]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    pages = 20 * 6 * 2**24 // resource.getpagesize()
    assert faults() - faults("keep") > pages / 2
