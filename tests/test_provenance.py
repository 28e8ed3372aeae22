import hashlib
import subprocess

import pytest

import ctmasknet
from ctmasknet import provenance


def test_sha256_is_of_the_bytes(tmp_path):
    file = tmp_path / "weights.pth"
    file.write_bytes(b"weights")
    assert provenance.sha256_of(file) == hashlib.sha256(b"weights").hexdigest()
    with pytest.raises(FileNotFoundError):
        provenance.sha256_of(tmp_path / "none")


def test_code_version_without_git(monkeypatch):
    def no_git(*args, **options):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", no_git)
    assert provenance.code_version() == ctmasknet.__version__


def test_versions_and_machine():
    assert provenance.versions()["ctmasknet"].startswith(ctmasknet.__version__)
    machine = provenance.machine()
    assert machine["cores"] >= 1 and machine["threads"] >= 1 and machine["processor"]
