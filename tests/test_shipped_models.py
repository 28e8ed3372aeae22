"""Models in the package: each small, whole, and with a card that states its hash."""

import re
from pathlib import Path

import pytest
import torch

from ctmasknet import shipped_models
from ctmasknet.checkpoint.model_file import read_model_file, write_model_file
from ctmasknet.provenance import sha256_of
from ctmasknet.shipped_models import (
    MODELS,
    find_weights,
    is_model_file,
    model_names,
    names_in_words,
)

CARDS = Path(__file__).parents[1] / "docs" / "models"
LARGEST = 25_000_000  # bytes


def problems_of(models, cards, largest=LARGEST):
    """What is wrong with the models of a folder and their cards, a line each."""
    problems = []
    for path in sorted(models.glob("*")):
        card = cards / f"{path.stem}.md"
        told = card.is_file() and re.findall(r"^SHA-256: (\S+)$", card.read_text(), re.MULTILINE)
        if not is_model_file(path):
            problems.append(f"{path.name}: no model file")
        elif told is False:
            problems.append(f"{path.name}: no card {card.name}")
        elif told != [sha256_of(path)]:
            problems.append(f"{card.name}: states the SHA-256 {told}, not that of {path.name}")
        if path.stat().st_size > largest:
            problems.append(f"{path.name}: larger than {largest:,} bytes")
    return problems


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the model "own" and its card, as the package's."""
    about = dict.fromkeys(("name", "config", "field_of_view", "license", "terms"), "x")
    about |= {"window": "1500,-600", "DATASETS.LESION_CLASSES": "lesion"}
    write_model_file(tmp_path / "models/own.safetensors", {"x": torch.ones(2)}, about)
    (tmp_path / "cards").mkdir()
    digest = sha256_of(tmp_path / "models/own.safetensors")
    (tmp_path / "cards/own.md").write_text(f"# own\n\nSHA-256: {digest}\n")
    monkeypatch.setattr(shipped_models, "MODELS", tmp_path / "models")
    return tmp_path


def test_models_in_the_package_have_cards_with_their_hashes():
    assert problems_of(MODELS, CARDS) == []
    assert [name for name in model_names() if not read_model_file(find_weights(name))[0]] == []


def test_the_check_finds_what_is_wrong(folder):
    def found(**options):
        return problems_of(folder / "models", folder / "cards", **options)

    card, model = folder / "cards/own.md", folder / "models/own.safetensors"
    assert found() == []
    assert found(largest=100) == ["own.safetensors: larger than 100 bytes"]
    text = card.read_text()
    for wrong in (text.replace("SHA-256: ", "SHA-256: 0"), text + text, "# own\n"):
        card.write_text(wrong)
        assert len(found()) == 1 and found()[0].startswith("own.md: states the SHA-256 [")
    card.write_text(text)
    model.write_bytes(model.read_bytes() + b" ")
    assert len(found()) == 1 and found()[0].endswith(" not that of own.safetensors")
    card.unlink()
    assert found() == ["own.safetensors: no card own.md"]
    (folder / "models/own.pth").touch()
    assert "own.pth: no model file" in found()


def test_names(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (model_names(), names_in_words()) == (["own"], "own")
    assert find_weights("own") == folder / "models/own.safetensors"
    for path in ("cards", "other", "./own", "models/own.safetensors"):
        assert find_weights(path) == Path(path)
    (tmp_path / "own").touch()
    assert find_weights("own") == Path("own")  # what is here wins
    monkeypatch.setattr(shipped_models, "MODELS", tmp_path / "none")
    assert (model_names(), names_in_words()) == ([], "none yet")
