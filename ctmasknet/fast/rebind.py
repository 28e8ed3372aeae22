"""Methods of single objects."""

from collections.abc import Callable
from types import MethodType


def rebind(owner: object, name: str, function: Callable, stock: type | None = None) -> None:
    """Let `owner.name(...)` call `function(owner, ...)`; deep copies of the owner call it, too.

    The stock method stays reachable as `type(owner).name`. A pickled owner does not load again.

    Args:
        owner: any object.
        name: of its method.
        function: what takes its place.
        stock: the class whose method it replaces; an owner of a subclass with a method of its own
            is left alone. None replaces any method.
    """
    if stock is None or getattr(type(owner), name) is getattr(stock, name):
        setattr(owner, name, MethodType(function, owner))
