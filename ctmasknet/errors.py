"""What becomes of input that cannot be used: it stops the work, or is collected and left out."""

from __future__ import annotations


class ErrorPolicy:
    """Raises errors, or collects their messages so that the caller goes on without the bad part.

    Attributes:
        collects: whether errors are collected (the tools' --skip-bad) instead of raised.
        messages: what was collected, a line each, in order.
    """

    def __init__(self, collects: bool):
        self.collects = collects
        self.messages: list[str] = []

    def handle(self, error: Exception, went_on: str = "") -> None:
        """Raise an error, or collect its message.

        Args:
            error: says what is wrong, where, and what to do.
            went_on: what the caller does instead of stopping, for the message.
        """
        if not self.collects:
            raise error
        self.messages.append(f"{error}; {went_on}" if went_on else str(error))

    def fresh(self) -> ErrorPolicy:
        """Return a policy of the same kind that has collected nothing."""
        return ErrorPolicy(self.collects)

    @property
    def first(self) -> str:
        """The first message; "" without any."""
        return self.messages[0] if self.messages else ""


RAISE = ErrorPolicy(collects=False)


def collecting() -> ErrorPolicy:
    """Return a new policy that collects."""
    return ErrorPolicy(collects=True)
