"""Packages that one room needs and plain training and evaluation do not: pip's extras."""

from importlib import import_module

# Modules by the extra of pyproject.toml that installs them.
EXTRAS = {
    "ct": ("pydicom", "SimpleITK", "highdicom"),
    "report": ("jinja2",),
    "audit": ("imagehash", "jinja2"),
}


class MissingExtraError(ImportError):
    """A package of an extra is not installed; the message has the command that installs it."""


def require(extra: str, *modules: str) -> None:
    """Import modules of an extra, by default all that EXTRAS has for it.

    Raises a MissingExtraError if one is not installed.
    """
    for module in modules or EXTRAS[extra]:
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"this needs {error.name}, which is not installed: "
                f"pip install 'ctmasknet[{extra}]'",
                name=error.name,
            ) from None
