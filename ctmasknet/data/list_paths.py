"""Names of files in lists -> their paths: a list from elsewhere must not name just any file.

A name leads to a file below its list's folder, or below the folder of images that a command was
given. One that is absolute or has ".." in it may also lead below a folder that the user allows: by
`--data-root DIR` of commands that read lists, DATASETS.DATA_ROOT of a config, or the environment
variable CTMASKNET_DATA_ROOT, which processes inherit. Links below these folders are followed: who
made them owns the folder.
"""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any

OPTION, VARIABLE = "--data-root", "CTMASKNET_DATA_ROOT"


def listed_path(name: str, folder: str | os.PathLike) -> str:
    """Return the path of a name in a list; it need not exist.

    `folder` is what names are relative to. ValueError: the path leads neither below it nor below a
    folder that is allowed.
    """
    path, drive = os.path.join(folder, name), os.path.splitdrive(name)[0]
    if ".." not in name and not drive and not name.startswith(("/", os.sep)):
        return path  # lists are long, and this is fast
    climbs = ".." in PurePath(name).parts
    if not climbs and not PurePath(name).anchor:
        return path
    if not any(_is_below(path, climbs, root) for root in (folder, *_allowed())):
        file = _resolved(path) if climbs else os.path.abspath(path)
        raise ValueError(
            f"{name} lies outside {os.path.abspath(folder)}: if that is meant, add {OPTION} "
            f"{os.path.dirname(file)}, or a folder above it (in a config, DATASETS.DATA_ROOT)"
        )
    return path


def relative_path(file: Path, root: Path) -> str:
    """Return a file's path from a folder, with forward slashes, as lists have it."""
    if ".." not in (*file.parts, *root.parts):  # by links, if they lie below the folder
        path = Path(os.path.abspath(file))
        if path.is_relative_to(os.path.abspath(root)):
            return path.relative_to(os.path.abspath(root)).as_posix()
    # Links are resolved on both sides, as ".." behind a link leads elsewhere.
    here = os.path.join(os.path.realpath(file.parent), file.name)
    return Path(os.path.relpath(here, os.path.realpath(root))).as_posix()


def reading_advice(file: Path, names: Iterable[str]) -> list[str]:
    """Return a line on the option that reading a list with these names needs, if it needs one."""
    here = os.path.realpath(file.parent)
    above = [x for x in names if PurePath(x).parts[0] == ".."]
    if not above:
        return []
    root = os.path.commonpath({os.path.dirname(os.path.normpath(f"{here}/{x}")) for x in above})
    return [f"{file} names files outside its folder: what reads it needs {OPTION} {root}"]


def allow_data_roots(folders: Iterable[str]) -> None:
    """Allow lists to name files below folders, in this process and in those that it starts.

    ValueError: no such folder, or one whose name has the separator of paths in it.
    """
    for folder in folders:
        if not isinstance(folder, str) or not os.path.isdir(folder):
            raise ValueError(f"{folder}: no such folder ({OPTION}, DATASETS.DATA_ROOT)")
        path = os.path.abspath(folder)
        if os.pathsep in path:
            raise ValueError(f"{path}: has a '{os.pathsep}' in it ({OPTION}): give a link to it")
        if path not in (known := _allowed()):
            os.environ[VARIABLE] = os.pathsep.join([*known, path])


def add_data_root(parser: argparse.ArgumentParser) -> None:
    """Add the option, which sets the environment variable."""
    parser.add_argument(
        OPTION,
        action=_AllowDataRoot,
        default=argparse.SUPPRESS,
        metavar="DIR",
        help="let lists name files below DIR, too, by absolute paths or '..'; again for several "
        "(default: below the list's own folder alone)",
    )


class _AllowDataRoot(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, value: Any, option: Any = None) -> None:
        try:
            allow_data_roots([value])
        except ValueError as error:
            parser.error(str(error))


def _allowed() -> list[str]:
    return list(filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)))


def _is_below(path: str, climbs: bool, root: str | os.PathLike) -> bool:
    # Behind a link ".." leads elsewhere than it seems.
    if not climbs and Path(path).is_relative_to(os.path.abspath(root)):
        return True
    real = os.path.realpath(root)
    return any(Path(x).is_relative_to(real) for x in (_resolved(path), *([] if climbs else [path])))


def _resolved(path: str) -> str:
    """Resolve the links to a file, not the file itself, which may be one."""
    folder, name = os.path.split(path)
    real = os.path.realpath
    return real(path) if name in ("", ".", "..") else os.path.join(real(folder), name)
