"""Errors of input that cannot be used: raised, or collected while the work goes on without it."""

from collections.abc import Iterator
from contextlib import contextmanager


class ErrorPolicy:
    """Raises errors, or collects their messages so that the caller goes on without the bad part.

    Functions that can go on take a policy as `errors`, by default RAISE.

    Attributes:
        collects: whether errors are collected (--skip-bad of commands) instead of raised.
        messages: what was collected, a line each, in order.
        notes: what is no error, but for the user to know, a line each, in order.
    """

    def __init__(self, collects: bool):
        self.collects = collects
        self.messages: list[str] = []
        self.notes: list[str] = []

    def handle(self, error: Exception | str, instead: str = "") -> None:
        """Raise an error, a text as a ValueError, or collect its message.

        It says what is wrong, where, and what to do; `instead` what the caller does where it goes
        on.
        """
        if not self.collects:
            raise ValueError(error) if isinstance(error, str) else error
        self.messages.append(f"{error}; {instead}" if instead else str(error))

    def note(self, text: str) -> None:
        """Keep a line for the user, once; RAISE, which all share, keeps none."""
        if self is not RAISE and text not in self.notes:
            self.notes.append(text)

    def take(self, other: "ErrorPolicy") -> None:
        """Add what another policy of the same kind has collected."""
        self.messages += other.messages
        for text in other.notes:
            self.note(text)

    def fresh(self) -> "ErrorPolicy":
        """Return a policy of the same kind that has collected nothing yet."""
        return ErrorPolicy(self.collects)

    @property
    def first(self) -> str:
        """The first message; "" if there is none."""
        return self.messages[0] if self.messages else ""


RAISE = ErrorPolicy(collects=False)


@contextmanager
def parts_named(source: object) -> Iterator[None]:
    """Turn Detectron2's KeyError of a part that is not registered into a ValueError of `source`."""
    try:
        yield
    except KeyError as error:
        if "registry" not in str(error):
            raise
        raise ValueError(
            f"{source}: {error.args[0]} If the part is your own, import its module first"
        ) from None


def collecting() -> ErrorPolicy:
    """Return a new policy that collects."""
    return ErrorPolicy(collects=True)
