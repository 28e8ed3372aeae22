"""What happens to input that cannot be used: it stops the work, or is listed and left out."""

from __future__ import annotations


def refuse_or_skip(error: Exception, skipped: list[str] | None) -> None:
    """Raise an error, or note it and let the caller go on without what it is about.

    Args:
        error: says what is wrong where and what to do.
        skipped: None raises; a list (the tools' --skip-bad) receives the message.
    """
    if skipped is None:
        raise error
    skipped.append(str(error))
