"""Where the files that ctmasknet ships lie: in a checkout or in an installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).parent
# A wheel has the configs inside the package (pyproject.toml), a checkout beside it.
_INSTALLED = (_PACKAGE / "configs").is_dir()

# The checkout that the package runs from, an editable install included; None if it is a wheel's.
CHECKOUT = None if _INSTALLED else _PACKAGE.parent
# The shipped configs, in folders by kind.
CONFIGS = (CHECKOUT or _PACKAGE) / "configs"


def shipped_configs() -> dict[str, Path]:
    """Return the shipped configs by their names, which are the stems of their files."""
    return {file.stem: file for file in sorted(CONFIGS.glob("*/*.yaml"))}
