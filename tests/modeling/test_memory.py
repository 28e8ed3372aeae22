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

POOLS = """
import ctypes, sys
from pathlib import Path
from threading import Thread
import torch
from ctmasknet.modeling.memory import keep_freed_memory

if "keep" in sys.argv:
    keep_freed_memory()
libc, path = ctypes.CDLL(None), sys.argv[1]
libc.fopen.restype = ctypes.c_void_p

def report():
    torch.ones(2**22, dtype=torch.uint8)
    file = ctypes.c_void_p(libc.fopen(path.encode(), b"w"))
    libc.malloc_info(0, file)
    libc.fclose(file)

thread = Thread(target=report)
thread.start()
thread.join()
print(Path(path).read_text().count("<heap nr="))
"""
glibc_alone = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")


@glibc_alone
def test_freed_memory_is_not_mapped_anew():
    def faults(*args):
        command = [sys.executable, "-c", FAULTS, *args]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    pages = 20 * 6 * 2**24 // resource.getpagesize()
    assert faults() - faults("keep") > pages / 2


@glibc_alone
def test_threads_share_a_pool(tmp_path):
    def pools(*args):
        command = [sys.executable, "-c", POOLS, str(tmp_path / "malloc.xml"), *args]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert pools("keep") == 1 < pools()
