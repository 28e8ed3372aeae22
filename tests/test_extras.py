"""What is said where a package of an extra is missing."""

import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from PIL import Image

from ctmasknet.__main__ import main
from ctmasknet.audit.run import run_audit
from ctmasknet.command_line import run_script
from ctmasknet.extras import EXTRAS, MissingExtraError, require
from ctmasknet.report.html_pages import render
from ctmasknet.volumes import read_volume

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


@pytest.fixture
def without(monkeypatch):
    """Make modules as good as not installed."""
    return lambda *names: [monkeypatch.setitem(sys.modules, name, None) for name in names]


def test_the_extras_are_those_of_the_package():
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    listed = {name: {re.split(r"[=<>]", x)[0].lower() for x in optional[name]} for name in EXTRAS}
    listed["audit"] = listed["audit"] - {"ctmasknet[report]"} | listed["report"]
    assert listed == {name: {x.lower() for x in modules} for name, modules in EXTRAS.items()}
    assert optional["all"] == [f"ctmasknet[{','.join(EXTRAS)}]"]
    assert "ctmasknet[all]" in optional["dev"]


def test_what_is_installed_is_not_missed():
    for extra in EXTRAS:
        require(extra)


def test_a_scan_needs_ct(without, tmp_path):
    image = SimpleITK.GetImageFromArray(np.zeros((2, 4, 4), np.int16))
    SimpleITK.WriteImage(image, str(tmp_path / "a.nii"))
    without("SimpleITK")
    with pytest.raises(MissingExtraError, match=r"needs SimpleITK, .*'ctmasknet\[ct\]'"):
        read_volume(tmp_path / "a.nii")


def test_a_dicom_file_is_not_called_damaged_where_pydicom_is_missing(without, tmp_path):
    (tmp_path / "1.dcm").write_bytes(bytes(128) + b"DICM")
    without("pydicom")
    with pytest.raises(MissingExtraError, match=r"needs pydicom, .*'ctmasknet\[ct\]'"):
        read_volume(tmp_path)


def test_a_page_needs_report_and_an_audit_audit(without):
    without("jinja2")
    with pytest.raises(MissingExtraError, match=r"needs jinja2, .*'ctmasknet\[report\]'"):
        render(Path("any.jinja"))
    with pytest.raises(MissingExtraError, match=r"needs jinja2, .*'ctmasknet\[audit\]'"):
        run_audit([])


def command(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


def test_commands_say_it_in_one_line_before_they_look_for_a_model(without, tmp_path, capsys):
    slices = tmp_path / "slices"
    slices.mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(slices / "slice.png")
    predict = ["predict", "--model", "none", "--output", tmp_path / "out"]
    without("highdicom")
    assert command(*predict, slices, "--as-scan") == 2
    line = "error: this needs {}, which is not installed: pip install 'ctmasknet[{}]'\n"
    assert capsys.readouterr().err == line.format("highdicom", "ct")
    assert command(*predict, slices) == 2  # of slices nothing is missing but the model
    assert "no such config file or model" in capsys.readouterr().err
    without("jinja2")
    assert command(*predict, slices) == 2
    assert capsys.readouterr().err == line.format("jinja2", "report")
    assert not (tmp_path / "out").exists()


def test_other_modules_that_are_missing_stay_errors_of_the_program():
    def main():
        raise ModuleNotFoundError("No module named 'elsewhere'")

    with pytest.raises(ModuleNotFoundError):
        run_script(main)
