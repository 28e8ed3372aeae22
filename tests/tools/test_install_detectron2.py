"""The installer of Detectron2, on a two-file stand-in for the wheel it takes Detectron2 from."""

import hashlib
import importlib.util
import os
import subprocess
import sys
import zipfile
from base64 import urlsafe_b64encode
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "install_detectron2.py"
UPSTREAM = {
    "detectron2/__init__.py": b'__version__ = "0.6"\n',
    "detectron2/layers/nms.py": b"from detectron2.layers import x\nimport detectron2.layers.y\n",
}
CHECKSUMS = {name: hashlib.sha256(content).hexdigest() for name, content in UPSTREAM.items()}
NMS = "detectron2/layers/nms.py"

spec = importlib.util.spec_from_file_location("install_detectron2", SCRIPT)
installer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(installer)


def carrier(folder: Path, changes: dict[str, bytes | None] | None = None) -> Path:
    """A wheel as PyPI's: Detectron2 renamed, and files that are none of ours; None removes one."""
    path = folder / "labgym-3.1.2-py3-none-any.whl"
    renamed = {
        f"LabGym/{name}": content.replace(b" detectron2", b" LabGym.detectron2")
        for name, content in UPSTREAM.items()
    }
    others = {"LabGym/gui.py": b"pass", "LabGym/detectron2/extra.py": b"pass"}
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in {**renamed, **others, **(changes or {})}.items():
            if content is not None:
                wheel.writestr(name, content)
    return path


def run_script(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def fake_detectron2(folder: Path, code: str) -> str:
    """A package that shadows any installed Detectron2 by PYTHONPATH."""
    (folder / "detectron2").mkdir()
    (folder / "detectron2" / "__init__.py").write_text(code)
    return str(folder)


def test_listed_files_are_taken_and_their_renaming_is_undone(tmp_path):
    assert installer.verified_files(carrier(tmp_path), CHECKSUMS) == UPSTREAM


def test_changed_and_missing_files_are_refused_by_name(tmp_path):
    wheel = carrier(tmp_path, {f"LabGym/{NMS}": b"import os\n"})
    with pytest.raises(installer.InstallError, match=rf"1 of 2 .*{NMS} differs from upstream's\)"):
        installer.verified_files(wheel, CHECKSUMS)

    wheel = carrier(tmp_path, {f"LabGym/{NMS}": None})
    with pytest.raises(installer.InstallError, match=rf"1 of 2 .*{NMS} is missing\)"):
        installer.verified_files(wheel, CHECKSUMS)


def test_a_wheel_that_does_not_verify_installs_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    calls = []

    def pip(*arguments):
        calls.append(arguments[0])
        carrier(Path(arguments[arguments.index("--dest") + 1]))  # not the 155 files of the list

    absent = subprocess.CompletedProcess([], 1, stdout="", stderr="No module named 'detectron2'")
    monkeypatch.setattr(installer, "pip", pip)
    monkeypatch.setattr(installer, "import_detectron2", lambda: absent)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT)])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    assert installer.main() == 2
    assert calls == ["download"]
    assert list(tmp_path.iterdir()) == []
    error = capsys.readouterr().err
    assert error.startswith("error: labgym-3.1.2-py3-none-any.whl does not hold")
    assert error.count("\n") == 1
    assert "155 of 155 files" in error
    assert "detectron2/__init__.py differs" in error


def test_the_written_wheel_installs_as_the_distribution_detectron2(tmp_path):
    wheel = installer.write_wheel(UPSTREAM, b"Apache License", tmp_path)
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*command, "--target", site, wheel], check=True)

    (distribution,) = distributions(path=[str(site)])
    assert (distribution.name, distribution.version) == ("detectron2", "0.6")
    assert distribution.metadata["License"] == "Apache-2.0"
    assert "fvcore<0.1.6,>=0.1.5" in distribution.requires
    assert not any(requirement.startswith("black") for requirement in distribution.requires)
    for name, content in UPSTREAM.items():
        assert (site / name).read_bytes() == content
    assert (site / "detectron2-0.6.dist-info/licenses/LICENSE").read_bytes() == b"Apache License"


def test_the_record_lists_every_file_with_its_hash_and_size(tmp_path):
    with zipfile.ZipFile(installer.write_wheel(UPSTREAM, b"Apache License", tmp_path)) as wheel:
        lines = wheel.read("detectron2-0.6.dist-info/RECORD").decode().splitlines()
        rows = {name: (digest, size) for name, digest, size in (line.split(",") for line in lines)}
        assert set(rows) == set(wheel.namelist())
        assert rows.pop("detectron2-0.6.dist-info/RECORD") == ("", "")
        for name, (digest, size) in rows.items():
            content = wheel.read(name)
            expected = urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert (digest, size) == (f"sha256={expected}", str(len(content)))


def test_a_detectron2_that_imports_is_left_as_it_is(tmp_path):
    folder = fake_detectron2(tmp_path, '__version__ = "9.9"')
    result = run_script(PYTHONPATH=folder)
    assert result.returncode == 0
    assert f"left as it is: 9.9 in {folder}" in result.stdout


def test_without_network_pips_reason_and_the_guide_are_one_line(tmp_path):
    folder = fake_detectron2(tmp_path, 'raise ImportError("absent")')
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    result = run_script(PYTHONPATH=folder, **offline)
    assert result.returncode == 2
    assert result.stderr.startswith("error: `pip download` failed (ERROR: No matching distribution")
    assert installer.GUIDE in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_shipped_list_is_the_upstream_commits():
    checksums = installer.read_checksums(installer.CHECKSUMS)
    assert len(checksums) == 155
    assert all(name.startswith("detectron2/") for name in checksums)
    assert {len(digest) for digest in checksums.values()} == {64}

    reference = ROOT.parent / "shared" / "reference" / installer.CHECKSUMS.name
    if not reference.exists():
        pytest.skip(f"no reference copy at {reference} to compare with")
    assert installer.CHECKSUMS.read_bytes() == reference.read_bytes()
