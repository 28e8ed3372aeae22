"""Read damaged files in a process of its own, which may crash, hang or ask for too much memory."""

import multiprocessing
import os
import random
import resource
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ctmasknet.library_warnings import quiet_libraries

from .mutations import mutate, mutate_content
from .readers import READERS
from .seeds import Seed

SECONDS, BYTES = 10, 2 << 30  # of the processor and of memory: the most that a file may take
_WAITS = 300  # seconds in which a process that waits for ever is found, on a busy machine, too
_AS_SPACE = 3 * BYTES  # of addresses: memory that is never touched costs none
RESULT, ERROR = "result", "own error"


class Failure(NamedTuple):
    """A file that a reader did not survive, and in which way."""

    reader: str
    index: int
    what: str


def damaged(reader: str, index: int, seed: int) -> tuple[Seed, bytes]:
    """Return the `index`-th damaged file of a reader, and the whole one that it is made from."""
    rng = random.Random(f"{seed} {reader} {index}")
    whole = rng.choice(_seeds(reader))
    if rng.random() < 0.3:
        return whole, mutate(whole.dump(whole.content), rng)
    content = whole.content
    try:
        if isinstance(content, bytes):
            return whole, whole.dump(mutate(content, rng))
        return whole, whole.dump(mutate_content(content, rng, whole.values))
    except Exception:  # what cannot be written
        return whole, mutate(whole.dump(content), rng)


_made: dict[str, list[Seed]] = {}


def _seeds(reader: str) -> list[Seed]:
    if reader not in _made:
        _made[reader] = READERS[reader].seeds()
    return _made[reader]


def put(folder: Path, whole: Seed, data: bytes) -> Path:
    """Write a damaged file with what lies beside; return what is to be read."""
    for name, other in whole.beside.items():
        (folder / name).write_bytes(other)
    (folder / whole.name).write_bytes(data)
    return folder / (whole.reads or whole.name)


def trial(reader: str, whole: Seed, data: bytes) -> str:
    """Return RESULT, ERROR, or what a reader did instead."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        path = put(folder, whole, data)
        before = sorted(folder.iterdir())
        outcome = _outcome(READERS[reader].read, path, whole)
        if sorted(folder.iterdir()) != before:
            return "other files were written"
        return outcome


def _outcome(read: Callable[[Path], Any], path: Path, whole: Seed) -> str:
    try:
        first = read(path)
        np.full(1 << 18, 0x55, np.uint8)  # what freed memory holds
        return RESULT if read(path) == first else "another result the second time"
    except Exception as error:
        own = type(error) in (ValueError, FileNotFoundError)
        if own and any(x in str(error) for x in (path.name, whole.name)):
            return ERROR
        kind = "an error without the file's name" if own else "a foreign error"
        return f"{kind}: {type(error).__name__}: {str(error)[:200]}"


def run(reader: str, inputs: int, seed: int) -> Iterator[tuple[int, str]]:
    """Yield each input's number and what came of it, RESULT or ERROR if all is well."""
    context = multiprocessing.get_context("fork")
    start = 0
    while start < inputs:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(sender, reader, start, inputs, seed))
        process.start()
        sender.close()
        try:
            while True:
                yield receiver.recv()
                start += 1
        except EOFError:
            process.join()
        if start < inputs and process.exitcode:
            hung = -process.exitcode in (signal.SIGALRM, signal.SIGPROF)
            code = f"the process ended with {process.exitcode}"
            yield start, f"more than {SECONDS} s" if hung else code
            start += 1


def _work(sender: Any, reader: str, start: int, inputs: int, seed: int) -> None:
    """Send what comes of each input; end after one that took too much memory."""
    quiet_libraries()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):  # what decoders print
        os.dup2(nowhere, number)
    for number in (signal.SIGALRM, signal.SIGPROF):  # they end the process, whatever it is in
        signal.signal(number, signal.SIG_DFL)
    trial(reader, *damaged(reader, start, seed)[:1], b"")  # loads what is loaded late
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + _AS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for index in range(start, inputs):
        whole, data = damaged(reader, index, seed)
        signal.alarm(_WAITS)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        outcome = trial(reader, whole, data)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) << 10
        if grown > BYTES:
            outcome = f"{grown >> 20} MiB of memory"
        sender.send((index, outcome))
        if grown > BYTES:
            return


def count(reader: str, outcomes: Iterator[tuple[int, str]]) -> tuple[Counter[str], list[Failure]]:
    """Return how many came to RESULT and ERROR, and the failures."""
    counts, failures = Counter[str](), []
    for index, outcome in outcomes:
        counts[outcome if outcome in (RESULT, ERROR) else "failure"] += 1
        if outcome not in (RESULT, ERROR):
            failures.append(Failure(reader, index, outcome))
    return counts, failures
