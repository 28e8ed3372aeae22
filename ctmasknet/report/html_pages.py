"""HTML pages from Jinja templates."""

from pathlib import Path
from typing import Any

from ..extras import require
from ..wording import counted, percent


def render(template: Path, **values: Any) -> str:
    """Fill in a template file, which may include others of its folder; values are escaped.

    Templates can call `counted` and `percent`. A name without a value is an UndefinedError.
    """
    require("report")
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals.update(counted=counted, percent=percent)
    return environment.get_template(template.name).render(values)
