"""HTML pages from Jinja templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..wording import counted, percent


def render(template: Path, **values: Any) -> str:
    """Fill a template in; values are escaped unless it says that they are safe.

    Args:
        template: a file; it may include others of its folder, and use `counted` and `percent`.
        values: by their names in the template.

    Raises:
        jinja2.UndefinedError: the template uses a name that has no value.
    """
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals.update(counted=counted, percent=percent)
    return environment.get_template(template.name).render(values)
