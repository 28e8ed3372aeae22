"""Warnings of other libraries: not on the terminal, where they would break progress bars.

What matters of them becomes a note of ours: `collected_warnings` is for those who know what it is.
"""

import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("pydicom", "highdicom", "nibabel", "torch.fx._symbolic_trace")
_log = logging.getLogger(__name__)
_one_thread = threading.RLock()


def quiet_libraries() -> None:
    """Turn Python's warnings to lines of the log (level DEBUG) in the whole process.

    `python -W default`, or PYTHONWARNINGS, shows them as usual.
    """
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.raiseExceptions = False  # a traceback for each line that a full disk has no room for
    if not sys.warnoptions:
        warnings.showwarning = _log_warning


def _log_warning(message, category, filename, lineno, file=None, line=None):  # type: ignore[no-untyped-def]
    _log.debug("%s:%s: %s: %s", filename, lineno, category.__name__, message)


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Yield a list that gets the text of each warning, and of each record of the libraries' logs.

    One thread at a time, as Python's `catch_warnings` is for one alone: others wait.
    """
    with _one_thread:
        yield from _collected()


def _collected() -> Iterator[list[str]]:
    texts: list[str] = []
    handler = _Collector(texts)
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.propagate, logger.level) for logger in loggers]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for logger in loggers:
            logger.addHandler(handler)
            logger.propagate = False
            logger.setLevel(logging.WARNING)
        try:
            yield texts
        finally:
            for logger, (propagate, level) in zip(loggers, before, strict=True):
                logger.removeHandler(handler)
                logger.propagate = propagate
                logger.setLevel(level)
            texts += [str(warning.message) for warning in caught]


class _Collector(logging.Handler):
    def __init__(self, texts: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._texts = texts

    def emit(self, record: logging.LogRecord) -> None:
        self._texts.append(record.getMessage())
