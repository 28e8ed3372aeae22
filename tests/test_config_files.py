"""Config files: nothing in them runs, bases are files on this disk, errors name file and key."""

import pytest

from ctmasknet.config import get_cfg
from ctmasknet.config_files import merge_config_file, read_config_file, read_yaml
from ctmasknet.engine import load_config
from ctmasknet.engine.lesion_classes import config_beside
from ctmasknet.shipped_configs import CONFIGS

RUNS = "MODEL: !!python/object/apply:os.mkdir ['{made}']\n"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*/R18_T1*.yaml")), ids=lambda x: x.stem)
def test_shipped_configs_are_as_detectron2_reads_them(path):
    ours, theirs = get_cfg(), get_cfg()
    merge_config_file(ours, path)
    theirs.merge_from_file(str(path))
    assert ours == theirs


def test_bases_lie_below_in_their_order(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.yaml").write_text("SEED: 1\nMODEL: {NAME: a, DEVICE: cpu}\n")
    (tmp_path / "sub/b.yaml").write_text("_BASE_: ../a.yaml\nMODEL: {NAME: b}\n")
    (tmp_path / "c.yaml").write_text("_BASE_: [a.yaml, sub/b.yaml]\nVERSION: 2\n")
    expected = {"SEED": 1, "MODEL": {"NAME": "b", "DEVICE": "cpu"}, "VERSION": 2}
    assert read_config_file(tmp_path / "c.yaml") == expected
    assert read_config_file(tmp_path / "c.yaml", without=tmp_path) == {"VERSION": 2}


@pytest.mark.parametrize("names", ["[GGO, GGO]", "[[], a]", "[-1e+308, a]", "[a]"])
def test_unusable_classes_name_the_file(tmp_path, names):
    path = tmp_path / "own.yaml"
    sizes = "MODEL: {META_ARCHITECTURE: LesionRCNN, ROI_HEADS: {NUM_CLASSES: 2}}\n"
    path.write_text(f"{sizes}DATASETS: {{LESION_CLASSES: {names}}}\n")
    with pytest.raises(ValueError, match=r"own\.yaml or an override of it: .*LESION_CLASSES"):
        load_config(str(path), datasets=False)


def test_tags_run_nothing(tmp_path):
    made = tmp_path / "made"
    for name in ("own.yaml", "config.yaml"):
        (tmp_path / name).write_text(RUNS.format(made=made))
        with pytest.raises(ValueError, match=rf"{name}: found the tag .*os\.mkdir"):
            load_config(str(tmp_path / name))
    (tmp_path / "over.yaml").write_text("_BASE_: own.yaml\n")
    with pytest.raises(ValueError, match=r"own\.yaml: found the tag"):
        load_config(str(tmp_path / "over.yaml"))
    assert config_beside(tmp_path / "model.pth") is None
    assert not made.exists()


@pytest.mark.parametrize(
    ("base", "error"),
    [
        (
            "https://example.org/x.yaml",
            "is the address https://example.org/x.yaml, expected",
        ),
        ("s3://bucket/x.yaml", "is the address"),
        ("own.yaml", "_BASE_ leads back to .*own.yaml"),
        ("back.yaml", "own.yaml: _BASE_ leads back to .*own.yaml"),
        ("lost.yaml", "_BASE_ is lost.yaml, but there is no file"),
        (".", "but there is no file"),
        ("text.txt", "text.txt: found no keys"),
        ("[1]", "_BASE_ is 1, expected a file's name"),
        ("{a: b}", "expected a file's name"),
        ("value.yaml", "own.yaml: MODEL has keys, but is a value in _BASE_"),
    ],
)
def test_bases_that_cannot_be_used(tmp_path, base, error):
    (tmp_path / "own.yaml").write_text(f"_BASE_: {base}\nMODEL: {{NAME: x}}\n")
    (tmp_path / "back.yaml").write_text("_BASE_: own.yaml\n")
    (tmp_path / "text.txt").write_text("some words\n")
    (tmp_path / "value.yaml").write_text("MODEL: 3\n")
    with pytest.raises(ValueError, match=error):
        load_config(str(tmp_path / "own.yaml"))


def test_the_config_of_a_run_takes_bases_of_its_folder_and_ours(tmp_path):
    (tmp_path / "elsewhere.yaml").write_text("SEED: 7\n")
    run = tmp_path / "run"
    run.mkdir()
    (run / "own.yaml").write_text("SEED: 5\n")
    for base in ("own.yaml", CONFIGS / "lesion" / "R18_T1.yaml"):
        (run / "config.yaml").write_text(f"_BASE_: {base}\n")
        assert config_beside(run / "model.pth") is not None
    (run / "config.yaml").write_text("_BASE_: ../elsewhere.yaml\n")
    assert config_beside(run / "model.pth") is None
    with pytest.raises(ValueError, match=r"elsewhere\.yaml, but the config of a run takes"):
        load_config(str(run / "config.yaml"))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("MODEL:\n", "MODEL is None, expected keys below it"),
        ("MODEL: {RPN: 3}\n", "MODEL.RPN is 3, expected keys"),
        ("MODEL: {1: 2}\n", "found the key 1, expected a name"),
        ("- MODEL\n", "found no keys"),
        ("MODEL: [\n", "own.yaml: while parsing"),
        ("SEEDS: 1\n", "Non-existent config key: SEEDS"),
        ("SEED: [1]\n", "Type mismatch"),
        ("VERSION: 1\n", "VERSION is 1, expected 2"),
        ("A: &a [*a]\n", r"the alias \*a before its anchor ends"),
        ("A: " + "[" * 5000, "more than 20 keys within each other"),
        ("A: [" + "1," * 20_000 + "1]", "more than 10000 values"),
        ("A: 2020-13-41\n", "own.yaml: "),
    ],
)
def test_content_that_cannot_be_used(tmp_path, text, error):
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ValueError, match=error) as found:
        load_config(str(tmp_path / "own.yaml"))
    assert "own.yaml" in str(found.value) and "\n" not in str(found.value)


def test_aliases_that_would_fill_the_memory():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(ValueError, match="more than 10000 values"):
        read_yaml("\n".join(lines), "x.yaml")
    assert read_yaml("a: &a [1, 2]\nb: *a\n", "x.yaml") == {"a": [1, 2], "b": [1, 2]}


def test_files_that_are_no_text(tmp_path):
    (tmp_path / "own.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"own\.yaml: no text"):
        load_config(str(tmp_path / "own.yaml"))
    (tmp_path / "own.yaml").write_text("#" * (1 << 20) + "\n")
    with pytest.raises(ValueError, match=r"own\.yaml: 1048577 bytes, expected"):
        load_config(str(tmp_path / "own.yaml"))


def test_a_config_stays_as_it_was(tmp_path):
    (tmp_path / "own.yaml").write_text("SEED: 3\nMODEL: {NAME: x, LOST: 1}\n")
    cfg = get_cfg()
    with pytest.raises(ValueError, match="LOST"):
        merge_config_file(cfg, tmp_path / "own.yaml")
    assert cfg == get_cfg()
