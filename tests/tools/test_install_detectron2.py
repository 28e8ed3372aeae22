"""The installer of Detectron2, on a two-file stand-in for the wheel it takes Detectron2 from."""

import hashlib
import os
import subprocess
import sys
import zipfile
from base64 import urlsafe_b64encode
from importlib.metadata import distributions
from pathlib import Path

import pytest

from ctmasknet_detectron2 import __main__ as installer
from ctmasknet_detectron2 import labgym_wheel

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "install_detectron2.py"
UPSTREAM = {
    "detectron2/__init__.py": b'__version__ = "0.6"\n',
    "detectron2/layers/nms.py": b"from detectron2.layers import x\nimport detectron2.layers.y\n",
}
CHECKSUMS = {name: hashlib.sha256(content).hexdigest() for name, content in UPSTREAM.items()}
NMS = "detectron2/layers/nms.py"


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
    assert labgym_wheel.verified_files(carrier(tmp_path), CHECKSUMS) == UPSTREAM


def test_changed_and_missing_files_are_refused_by_name(tmp_path):
    wheel = carrier(tmp_path, {f"LabGym/{NMS}": b"import os\n"})
    with pytest.raises(ValueError, match=rf"1 of 2 .*{NMS} differs from upstream's\)"):
        labgym_wheel.verified_files(wheel, CHECKSUMS)

    wheel = carrier(tmp_path, {f"LabGym/{NMS}": None})
    with pytest.raises(ValueError, match=rf"1 of 2 .*{NMS} is missing\)"):
        labgym_wheel.verified_files(wheel, CHECKSUMS)


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
    wheel = labgym_wheel.write_wheel(UPSTREAM, tmp_path)
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
    assert (site / "detectron2-0.6.dist-info/licenses/LICENSE").read_bytes() == (
        ROOT / "LICENSE"
    ).read_bytes()


def test_the_record_lists_every_file_with_its_hash_and_size(tmp_path):
    with zipfile.ZipFile(labgym_wheel.write_wheel(UPSTREAM, tmp_path)) as wheel:
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


def source_checkout(folder: Path, module: str = "detectron2") -> Path:
    """A checkout whose setup.py, as Detectron2's, imports something that is installed."""
    (folder / module).mkdir(parents=True)
    (folder / module / "__init__.py").write_text('__version__ = "7.7"\n')
    (folder / "setup.py").write_text(
        "import numpy\nfrom setuptools import setup\n"
        f"setup(name='detectron2', version='7.7', packages=['{module}'])\n"
    )
    return folder


def run_source(source: str | Path, site: Path) -> subprocess.CompletedProcess:
    """The script with --source; pip installs into `site`, which shadows any Detectron2."""
    alone = {"PIP_TARGET": str(site), "PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1"}
    return run_script("--source", str(source), PYTHONPATH=str(site), **alone)


def test_a_source_checkout_is_built_with_what_is_installed(tmp_path):
    result = run_source(source_checkout(tmp_path / "clone"), tmp_path / "site")
    assert result.returncode == 0, result.stderr
    assert f"Detectron2 installed: 7.7 in {tmp_path / 'site'}" in result.stdout


def test_a_source_that_cannot_be_built_or_is_not_there(tmp_path):
    result = run_source(tmp_path / "none", tmp_path / "site")
    assert result.returncode == 2
    assert result.stderr == f"error: --source {tmp_path / 'none'}: no such file or folder\n"

    clone = source_checkout(tmp_path / "clone")
    (clone / "setup.py").write_text("raise SystemExit('no compiler')\n")
    result = run_source(clone, tmp_path / "site")
    assert result.returncode == 2 and "no compiler" in result.stderr
    assert "failed, see above" in result.stderr.splitlines()[-1]


def test_a_source_of_something_else_is_found_out(tmp_path):
    site = Path(fake_detectron2(tmp_path, 'raise ImportError("not this one")'))
    result = run_source(source_checkout(tmp_path / "clone", "detectron3"), site)
    assert result.returncode == 2
    error = result.stderr.splitlines()[-1]
    assert error.startswith("error: detectron2 is installed but does not import")
    assert "not this one" in error


def test_without_network_pips_reason_and_the_guide_are_one_line(tmp_path):
    folder = fake_detectron2(tmp_path, 'raise ImportError("absent")')
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    result = run_script(PYTHONPATH=folder, **offline)
    assert result.returncode == 2
    assert result.stderr.startswith("error: `pip download` failed (ERROR: No matching distribution")
    assert installer.GUIDE in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_shipped_list_is_the_upstream_commits():
    checksums = labgym_wheel.read_checksums(labgym_wheel.CHECKSUMS)
    assert len(checksums) == 155
    assert all(name.startswith("detectron2/") for name in checksums)
    assert {len(digest) for digest in checksums.values()} == {64}

    reference = ROOT.parent / "shared" / "reference" / labgym_wheel.CHECKSUMS.name
    if not reference.exists():
        pytest.skip(f"no reference copy at {reference} to compare with")
    assert labgym_wheel.CHECKSUMS.read_bytes() == reference.read_bytes()
