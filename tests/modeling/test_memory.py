import os
import platform
import resource
import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from ctmasknet.modeling.memory import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

keep_freed_memory()
for repeat in range(20):
    if repeat == 10:  # warm
        before = faults()
    activations = [torch.ones(2**20, dtype=torch.uint8) for _ in range(96)]  # alive together
    del activations
print(faults() - before)
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
WITHOUT = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
glibc_alone = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")


@glibc_alone
def test_freed_memory_is_not_mapped_anew_unless_a_variable_says_so():
    def faults(**variables):
        found = subprocess.run(
            [sys.executable, "-c", FAULTS],
            capture_output=True,
            text=True,
            check=True,
            env=WITHOUT | variables,
        )
        return int(found.stdout)

    pages = 10 * 96 * 2**20 // resource.getpagesize()
    assert faults() < pages / 100
    assert faults(MALLOC_MMAP_THRESHOLD_="65536") > pages / 2


@glibc_alone
def test_threads_share_a_pool(tmp_path):
    def pools(*args):
        command = [sys.executable, "-c", POOLS, str(tmp_path / "malloc.xml"), *args]
        found = subprocess.run(command, capture_output=True, text=True, check=True, env=WITHOUT)
        return int(found.stdout)

    assert pools("keep") == 1 < pools()
