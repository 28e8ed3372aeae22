"""`ctmasknet info`: what it finds here."""

import json
import platform

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog

from ctmasknet.commands import info
from ctmasknet.data.builtin import register_builtin
from ctmasknet.fast.precision import choose_precision


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty place, with data sets' names registered for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    for catalog in (DatasetCatalog, MetadataCatalog):
        monkeypatch.setattr(catalog, "data", {})
    register_builtin()
    return tmp_path


def test_json(command, here, runs):
    (here / "datasets/phantom").mkdir(parents=True)
    (here / "datasets/phantom/val.csv").write_text("")
    (here / "output").mkdir()
    (here / "output/mine").symlink_to(runs.lesion)
    code, printed, _ = command("info", "--json")
    found = json.loads(printed)
    assert code == 0 and found["versions"]["python"] == platform.python_version()
    assert {"ctmasknet", "detectron2", "torch", "torchvision"} < set(found["versions"])
    assert found["precision"]["auto"] == choose_precision(found["precision"]["device"])[0]
    assert found["hardware"]["cores"] > 0 and found["hardware"]["memory_gib"] > 0
    assert len(found["hardware"]["gpus"]) == torch.cuda.device_count()
    assert {"quick/lesion_R18_T1", "ctmasknet/R18_T1_heads_BN"} < set(found["configs"])
    (model,) = (x for x in found["models"] if not x["demo"])
    assert model["weights"] == "model_best.pth" and model["folder"] == str(runs.lesion.resolve())
    assert list(found["datasets"]["found"]) == ["phantom_val"]
    missing = found["datasets"]["missing"]
    assert missing["phantom_test"] == str(here / "datasets/phantom/test.csv")
    assert len(missing) == 33  # and the one that is found: all of `register_builtin`
    assert found["compiled_detectron2"] in (True, False)


def test_a_model_where_the_readme_trains_it(command, here):
    (here / "lesions").mkdir()
    for name in ("config.yaml", "model_final.pth"):
        (here / "lesions" / name).write_text("")
    assert f"\n  {here / 'lesions'} (model_final.pth)\n" in command("info")[1]


def test_text(command, here):
    code, printed, _ = command("info")
    assert code == 0
    assert "\nmodels in the package\n" in printed
    assert "\nmodels, here and in output\n" in printed and "\nhardware\n" in printed
    assert "\ndata sets found\n  none\n" in printed
    expected = f"{here / 'datasets/medseg_lesion'}: medseg_lesion_test, medseg_lesion_train, med"
    assert expected in " ".join(printed.split()) and printed.rstrip().endswith("not for diagnosis.")


def test_extras_from_the_installed_package(monkeypatch):
    lines = ["torch>=2", 'numpy>=2; extra == "report"', "none-such<3 ; extra == 'ct'"]
    monkeypatch.setattr(info, "requires", lambda _: [*lines, 'ctmasknet[ct]; extra == "dev"'])
    found = info.gather_info()["extras"]
    assert list(found) == ["report", "ct"] and found["ct"] == {"none-such": None}
    assert found["report"]["numpy"][0].isdecimal()
