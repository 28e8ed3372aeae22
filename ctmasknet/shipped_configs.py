"""The shipped configs by name: "R18_T1", or with its folder "lesion/R18_T1"."""

import difflib
from pathlib import Path

from .shipped_models import model_names, names_in_words

_PACKAGE = Path(__file__).parent
# The checkout that the package runs from, an editable install included; None if it is a wheel's,
# which has the configs inside the package (setup.py).
CHECKOUT = None if (_PACKAGE / "configs").is_dir() else _PACKAGE.parent
CONFIGS = (CHECKOUT or _PACKAGE) / "configs"


def config_names() -> list[str]:
    """Return the names of all shipped configs with their folders, sorted."""
    return sorted(f"{file.parent.name}/{file.stem}" for file in CONFIGS.glob("*/*.yaml"))


def find_config(name: str | Path) -> Path:
    """Return the file of a config.

    Args:
        name: a YAML file, or a shipped config's name with or without its folder.

    Raises:
        FileNotFoundError: no such config; names the nearest one.
    """
    path = Path(name)
    known = config_names()
    # Without a folder a name is still unique (tests/test_configs.py).
    files = {key: CONFIGS / f"{full}.yaml" for full in known for key in (full, full.split("/")[1])}
    if path.is_file():
        return path
    if str(name) in files:
        return files[str(name)]
    if str(name) in model_names():
        raise FileNotFoundError(
            f"{name}: a model in the package, no config; train another from it with --weights "
            f"{name} and a config of its architecture"
        )
    wanted = str(path.with_suffix("") if path.suffix in (".yaml", ".yml") else name)
    alike = [key for key in (*model_names(), *files) if ("/" in key) == ("/" in wanted)]
    near = difflib.get_close_matches(wanted.removeprefix("configs/"), alike, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    raise FileNotFoundError(
        f"{name}: no such config file or model{hint} Expected a config file (.yaml), the name of a "
        "shipped config (`ctmasknet info` lists them) or, of a model, a training run's output "
        f"folder, a model file (.safetensors), a model in the package ({names_in_words()}) or demo"
    )
