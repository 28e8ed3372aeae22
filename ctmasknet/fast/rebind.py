"""Methods of single objects."""

from collections.abc import Callable
from types import MethodType


def rebind(owner: object, name: str, function: Callable) -> None:
    """Let `owner.name(...)` call `function(owner, ...)`; deep copies of the owner call it, too.

    The stock method stays reachable as `type(owner).name`.
    """
    setattr(owner, name, MethodType(function, owner))
