"""The scan that comes next is read while another one is predicted."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Generic, TypeVar

from .inputs import Input

Read = TypeVar("Read")


class ReadAhead(Generic[Read]):
    """Reads scans in turn, each once the one before it has been taken; two are held at a time."""

    def __init__(self, sources: Iterable[Input], read: Callable[[Input], Read]):
        """Begin with the first of the `sources`.

        Args:
            sources: scans in the order in which they are taken; some may never be.
            read: reads one; its errors are raised where it is taken.
        """
        self._waiting, self._read = list(sources), read
        self._begun: tuple[Input, Future[Read]] | None = None
        self._begin()

    def take(self, source: Input) -> Read:
        """Return what was read of a scan, and begin with the next one."""
        if self._begun is None or self._begun[0] is not source:
            return self._read(source)
        found = self._begun[1]
        try:
            return found.result()
        finally:
            self._begin()

    def _begin(self) -> None:
        self._begun = None
        if not self._waiting:
            return
        source, found = self._waiting.pop(0), Future[Read]()

        def work() -> None:
            try:
                found.set_result(self._read(source))
            except BaseException as error:
                found.set_exception(error)

        # No pool: Python would wait for its thread after Ctrl-C.
        threading.Thread(target=work, name=f"read {source.name}", daemon=True).start()
        self._begun = source, found
