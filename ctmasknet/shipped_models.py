"""Whole models in single files: those in the package by their names, others by their paths."""

from pathlib import Path

MODELS = Path(__file__).parent / "models"
SUFFIX = ".safetensors"


def model_names() -> list[str]:
    """Return the names of the models in the package, sorted."""
    return sorted(file.stem for file in MODELS.glob(f"*{SUFFIX}"))


def names_in_words() -> str:
    """Return the names of the models in the package, for help and errors."""
    return ", ".join(model_names()) or "none yet"


def shipped_file(name: str) -> Path:
    """Return the file of a model in the package, be it there or not."""
    return MODELS / f"{name}{SUFFIX}"


def is_model_file(path: str | Path) -> bool:
    """Return whether a path is, by its name, one of a whole model (checkpoint/model_file.py)."""
    return Path(path).suffix == SUFFIX


def find_weights(name: str | Path) -> Path:
    """Return the file of a model in the package by its name, any other path as it is.

    A file or folder of that name in the current directory wins.
    """
    path = Path(name)
    shipped = str(name) in model_names() and not path.exists()
    return shipped_file(str(name)) if shipped else path
