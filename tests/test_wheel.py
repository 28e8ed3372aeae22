"""The wheel: what is in it, and that it works without the repository."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

ROOT = Path(__file__).parents[1]
FOLDERS = ("ctmasknet", "ctmasknet_detectron2", "configs", "datasets", "docs", "tests", "tools")
MODEL = "ctmasknet/models/of_this_test.safetensors"  # whatever models the package has
OFFLINE = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")

# What a user does first, and a converter; small, as tests/commands/test_demo.py looks at the rest.
SMOKE = """
import sys
from pathlib import Path
import ctmasknet, torch, torchvision
from ctmasknet.__main__ import main
from ctmasknet.shipped_configs import CONFIGS

def run(*words):
    try:
        main(words)
    except SystemExit as end:
        assert not end.code, words

site = Path(sys.argv[1])
assert Path(ctmasknet.__file__).is_relative_to(site), ctmasknet.__file__
assert CONFIGS == site / "ctmasknet" / "configs"
torch.set_num_threads(1)
torch.save(torchvision.models.resnet18(weights=None).state_dict(), "resnet18.pth")
run("prepare", "weights", "resnet18.pth", "R18.pth")
run("prepare", "phantom", "--output", "out/phantom", "--patients", "9", "--slices", "2",
    "--size", "128", "--split", "1", "1", "1")
run("demo", "--quick", "--output", "out", *sys.argv[2].split())
run("predict", "out/phantom/image/P0000", "--as-scan", "--model", "out/ctmasknet_R18_T1",
    "--lesion-model", "out/lesion_R18_T1", "--output", "results", "--keep-identifiers")
"""
SMALL = """INPUT.MIN_SIZE_TRAIN (64,) INPUT.MIN_SIZE_TEST 64 SOLVER.MAX_ITER 4 TEST.EVAL_PERIOD 2
MODEL.RPN.POST_NMS_TOPK_TRAIN 50 MODEL.RPN.POST_NMS_TOPK_TEST 30 DATALOADER.NUM_WORKERS 0"""


def files_of(folder, pattern):
    base = ROOT / folder
    return {path.relative_to(base).as_posix() for path in base.rglob(pattern)}


def python(*arguments, **options):
    command = [sys.executable, *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, **options)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def _data(folder, names):
    """What of a folder is not copied: caches, and the data sets in datasets/."""
    data = Path(folder) == ROOT / "datasets"
    return [name for name in names if name == "__pycache__" or data and "." not in name]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """Built from a copy, as setuptools writes into the folder that it builds."""
    copy = tmp_path_factory.mktemp("copy") / "ctmasknet"
    copy.mkdir()
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, copy)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, ignore=_data)
    (copy / MODEL).parent.mkdir(exist_ok=True)
    (copy / MODEL).touch()
    code = "import setuptools.build_meta as b; b.build_sdist('dist')"
    python("-c", code, cwd=copy)
    (found,) = (copy / "dist").iterdir()
    return found


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    python("-m", "pip", "wheel", "--no-build-isolation", *OFFLINE, "--wheel-dir", folder, sdist)
    (found,) = folder.iterdir()
    return found


def test_the_sdist_has_what_the_tests_read_and_no_data(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "MODEL_ZOO.md", "docs/extending.md", "tests/tiny_models.py"} <= names
    assert {"tools/train_net.py", "datasets/README.md", "configs/Base-Lesion.yaml"} <= names
    assert not any(name.startswith(("datasets/phantom", "output", ".venv")) for name in names)


def test_the_wheel_has_configs_templates_models_and_no_tools(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    packages = {"ctmasknet", "ctmasknet_command.py", "ctmasknet_detectron2"}
    assert {name.partition("/")[0] for name in names} == packages
    inside = {name.removeprefix("ctmasknet/") for name in names}
    configs = {name.removeprefix("configs/") for name in inside if name.startswith("configs/")}
    assert configs == files_of("configs", "*.yaml")
    for pattern in ("*.py", "*.jinja", "*.js", "py.typed", "*.safetensors"):
        assert files_of("ctmasknet", pattern) <= inside
    assert MODEL in names
    assert "ctmasknet_detectron2/detectron2_864913f0.sha256" in names


def test_it_trains_predicts_and_converts_without_the_repository(wheel, tmp_path):
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    python("-m", "pip", "install", *OFFLINE, "--target", site, wheel)
    alone = {**os.environ, "PYTHONPATH": str(site)}
    printed = python("-c", SMOKE, site, SMALL, cwd=work, env=alone)
    assert "true COVID-19" in printed and "1 of 1 predicted" in printed
    assert "Research use only" in (work / "results" / "P0000" / "report.html").read_text()
    assert "--source" in python("-m", "ctmasknet_detectron2", "--help", cwd=work, env=alone)
    assert {"ctmasknet", "ctmasknet-install-detectron2"} <= set(os.listdir(site / "bin"))
