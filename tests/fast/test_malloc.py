import ctypes

import pytest

from ctmasknet.fast.malloc import keep_freed_memory

ALL = {-3: 2**25, -1: 2**28, -2: 2**26, -8: 1}


@pytest.fixture
def settings(monkeypatch):
    """What glibc's mallopt is told."""
    told = {}

    class Library:
        def __init__(self, name):
            self.mallopt = told.__setitem__

    monkeypatch.setattr(ctypes, "CDLL", Library)
    for name in ("MMAP_THRESHOLD_", "TRIM_THRESHOLD_", "TOP_PAD_", "ARENA_MAX"):
        monkeypatch.delenv(f"MALLOC_{name}", raising=False)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    keep_freed_memory.cache_clear()
    yield told
    keep_freed_memory.cache_clear()


def test_glibc_keeps_blocks_of_32_mb_in_one_pool(settings):
    keep_freed_memory()
    assert settings == ALL


@pytest.mark.parametrize(
    ("variable", "expected"),
    [("MALLOC_ARENA_MAX", {k: v for k, v in ALL.items() if k != -8}), ("GLIBC_TUNABLES", {})],
)
def test_a_variable_of_the_user_wins(settings, monkeypatch, variable, expected):
    monkeypatch.setenv(variable, "1")
    keep_freed_memory()
    assert settings == expected


def test_another_c_library_is_left_alone(settings, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    keep_freed_memory()
    assert settings == {}
