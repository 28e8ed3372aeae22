"""Pseudonyms of patients, scans and files, and the file that tells whose they are.

A pseudonym is a keyed hash (HMAC-SHA256) of what it stands for. The key lies in the file of names:
without it nobody can find out whose a pseudonym is, not even by trying all PatientIDs, and
with it the same patient is called the same in every run.
"""

import csv
import hashlib
import hmac
import io
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from .csv_cells import plain, write_rows

NAMES_FILE = "ctmasknet-names.csv"
_COLUMNS = ("name", "kind", "identifier")
_KEY = "key"
_KEEP = "makes the names below: keep this file to yourself"
_DIGITS = 10
_NAME = re.compile(r"\b(?:patient|scan|slice|series)-[0-9a-f]{10,64}\b")


class Names:
    """Pseudonyms that a file keeps; several runs may share it, also at the same time."""

    def __init__(self, path: Path):
        """Read a file of names, or make one.

        Raises a ValueError if it is something else, an OSError if it cannot be read or written.
        """
        self.path = path
        self._identifiers: dict[str, tuple[str, str]] = {}  # name -> kind and identifier
        self._unsaved: list[tuple[str, str, str]] = []
        if not path.exists():
            self._begin()
        self._key = self._read()

    @classmethod
    def existing(cls, path: Path) -> "Names":
        """Read a file of names; a FileNotFoundError if there is none, else as `Names`."""
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such file of names; {NAMES_FILE} lies beside results"
            )
        return cls(path)

    def of(self, kind: str, identifier: str) -> str:
        """Return the pseudonym of a "patient", "scan", "slice" or "series", as scan-0f3a9c27b1.

        `save` writes those that are new.
        """
        digest = self.digest(f"{kind}\n{identifier}")
        for digits in range(_DIGITS, len(digest) + 1):  # more only if others begin alike
            name = f"{kind}-{digest[:digits]}"
            if self._identifiers.get(name, (kind, identifier)) == (kind, identifier):
                break
        if name not in self._identifiers:
            self._identifiers[name] = kind, identifier
            self._unsaved.append((name, kind, identifier))
        return name

    def digest(self, text: str) -> str:
        """Return the keyed hash of a text, 64 hexadecimal digits."""
        return hmac.new(
            bytes.fromhex(self._key), text.encode(errors="surrogateescape"), hashlib.sha256
        ).hexdigest()

    def reveal(self, text: str) -> str:
        """Put identifiers in the place of their pseudonyms, those that are known."""

        def identifier(match: re.Match[str]) -> str:
            return self._identifiers.get(match[0], ("", match[0]))[1]

        return _NAME.sub(identifier, text)

    def save(self) -> None:
        """Add the new pseudonyms to the file; call it before anything is written under them."""
        if self._unsaved:
            _write(os.open(self.path, os.O_WRONLY | os.O_APPEND), self._unsaved)
            self._unsaved.clear()

    def _begin(self) -> None:
        """Make the file, unless another run does so at the same time."""
        partial = self.path.with_name(f".{os.getpid()}.{self.path.name}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT, 0o600)
            _write(descriptor, [_COLUMNS, (secrets.token_hex(32), _KEY, _KEEP)])
            try:
                os.link(partial, self.path)  # is there as a whole, and replaces no file
            except OSError:
                if not self.path.exists():  # a disk without links
                    os.replace(partial, self.path)
        except OSError as error:
            advice = "give --names FILE for the file of names, or --keep-identifiers"
            problem = f"{self.path}: cannot be written ({error.strerror}): {advice}"
            raise PermissionError(problem) from None
        finally:
            partial.unlink(missing_ok=True)

    def _read(self) -> str:
        """Read the file and return its key."""
        key = ""
        try:
            with self.path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
                text = stream.read()
            rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
            if tuple(rows[0]) != _COLUMNS or not text.endswith("\n"):
                raise ValueError
            for name, kind, identifier in rows[1:]:
                if kind == _KEY:
                    key = name
                else:
                    self._identifiers[name] = kind, plain(identifier)
            if len(bytes.fromhex(key)) != 32:
                raise ValueError
        except (ValueError, IndexError, csv.Error):
            raise ValueError(
                f"{self.path}: no file of names that ctmasknet has written, or a damaged one: give "
                "another --names FILE, or take the file from a copy"
            ) from None
        return key


def _write(descriptor: int, rows: Sequence[tuple[str, ...]]) -> None:
    """Add rows to the end of a file in one piece, or none of them, and close it."""
    text = io.StringIO(newline="")
    write_rows(text, rows)
    content = text.getvalue().encode(errors="surrogateescape")
    with open(descriptor, "ab", buffering=0) as stream:
        size = os.fstat(descriptor).st_size
        try:
            complete = stream.write(content) == len(content)
            os.fsync(descriptor)
            if not complete:
                raise OSError(28, "no space left for the file of names")
        except OSError:
            os.truncate(descriptor, size)
            raise


def is_pseudonym(name: str) -> bool:
    """Return whether a name looks like one that `Names` gives."""
    return bool(_NAME.fullmatch(name))


def names_file(output: Path, given: Path | None = None) -> Path:
    """Return where the file of names lies: where it is wanted, or beside the folder of results.

    Raises a ValueError for a place in that folder, which may be passed on.
    """
    path = given or Path(os.path.abspath(output)).parent / NAMES_FILE
    if path.resolve().is_relative_to(output.resolve()):
        raise ValueError(
            f"--names {path}: lies in the folder of the results, with which it would be passed on: "
            "name another place"
        )
    return path
