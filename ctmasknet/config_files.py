"""YAML config files, read so that nothing in them runs and no file outside may be meant.

Detectron2's `CfgNode.merge_from_file` runs Python that a file's tags name, and opens addresses.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode
from detectron2.config.compat import guess_version

BASE = "_BASE_"
_MOST_BYTES = 1 << 20
_MOST_VALUES = 10_000  # keys among them; Detectron2 has about 400
_DEEPEST = 20  # keys within keys, and bases of bases
# What PyYAML, yacs and Detectron2 raise for content that they cannot use.
_UNUSABLE = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError),
    *(TypeError, ValueError),
)


def merge_config_file(cfg: CfgNode, path: str | os.PathLike, within: Sequence[Path] = ()) -> None:
    """Merge a YAML file, and the files that its _BASE_ names, into a config.

    Args:
        cfg: the config to change; it stays as it is if there is an error.
        path: the file. _BASE_ names one file or a list of them, relative to the file that names it.
        within: folders that bases must lie in, of a config that came with weights; () allows any.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no usable YAML, tags, unknown keys, values of another type than the default's, a
            base that is an address, is missing, lies elsewhere, or leads back to itself.
    """
    merge_content(cfg, read_config_file(path, within), str(path))


def read_config_file(
    path: str | os.PathLike, within: Sequence[Path] = (), without: Path | None = None
) -> dict[str, Any]:
    """Read a YAML file with its bases into one mapping, as `merge_config_file` does.

    Bases in the folder `without` are left out.
    """
    return _read(Path(path), [folder.resolve() for folder in within], without, ())


def merge_content(cfg: CfgNode, content: dict, place: str) -> None:
    """Merge keys and values; a ValueError that names the `place` if they do not fit."""
    changed = cfg.clone()
    try:
        _check_sections(cfg, content)
        loaded = CfgNode(content)
        version = loaded.get("VERSION") or guess_version(loaded, place)
        if version != cfg.VERSION:
            raise ValueError(f"VERSION is {version!r}, expected {cfg.VERSION}")
        changed.merge_from_other_cfg(loaded)
    except _UNUSABLE as error:
        raise ValueError(f"{place}: {_reason(error)}") from None
    cfg.merge_from_other_cfg(changed)


def read_yaml(text: str, place: str) -> dict[str, Any]:
    """Read a mapping of YAML, of plain values alone; a ValueError that names the `place` if not."""
    try:
        _check_size(text)
        content = yaml.safe_load(text)
        if not isinstance(content, dict):
            raise ValueError("found no keys, expected lines of `KEY: VALUE`")
        _check_keys(content)
    except yaml.constructor.ConstructorError as error:
        tag = str(error.problem).removeprefix("could not determine a constructor for the tag ")
        raise ValueError(f"{place}: found the tag {tag}, expected plain values") from None
    except (yaml.YAMLError, *_UNUSABLE) as error:
        raise ValueError(f"{place}: {_reason(error)}") from None
    return content


def _check_size(text: str) -> None:
    """Raise a ValueError for YAML that is too much, with aliases written out, or too deep.

    It is told from the events, as a few lines of aliases may be gigabytes.
    """
    sizes: dict[str | None, int] = {}  # of what has an anchor
    opened: list[tuple[str | None, int]] = []  # anchor and size of what surrounds
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, 1))
            if len(opened) > _DEEPEST:
                raise ValueError(f"found more than {_DEEPEST} keys within each other")
            continue
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise ValueError(f"found the alias *{event.anchor} before its anchor ends")
            size = sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            size = sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = opened.pop()
            sizes[anchor] = size
        else:
            continue
        if opened:
            anchor, before = opened.pop()
            if before + size > _MOST_VALUES:
                raise ValueError(f"found more than {_MOST_VALUES} values")
            opened.append((anchor, before + size))


def _check_keys(content: dict) -> None:
    for key, value in content.items():
        if not isinstance(key, str):
            raise ValueError(f"found the key {key!r}, expected a name")
        if isinstance(value, dict):
            _check_keys(value)


def _check_sections(cfg: CfgNode, content: dict, above: str = "") -> None:
    """Raise a ValueError where a value stands for a section of keys."""
    for key, value in content.items():
        if not isinstance(cfg.get(key), CfgNode):
            continue
        if not isinstance(value, dict):
            raise ValueError(f"{above}{key} is {value!r}, expected keys below it")
        _check_sections(cfg[key], value, f"{above}{key}.")


def _reason(error: BaseException) -> str:
    """Return an error on one line; those of YAML have many, those of yacs repeat the file."""
    if isinstance(error, RecursionError):
        return "found keys too deep within each other"
    if isinstance(error, KeyError):
        error = ValueError(str(error.args[0]) if error.args else "unknown key")
    return " ".join(str(error).split()) or type(error).__name__


def _read(
    path: Path, within: Sequence[Path], without: Path | None, above: tuple[Path, ...]
) -> dict[str, Any]:
    """Read a file with its bases; `above` are the files that led here."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such config file")
    real = path.resolve()
    if real in above:
        raise ValueError(f"{above[0]}: {BASE} leads back to {path}: remove it there")
    if len(above) > _DEEPEST:
        raise ValueError(f"{above[0]}: more than {_DEEPEST} files are {BASE} of each other")
    if (size := path.stat().st_size) > _MOST_BYTES:
        raise ValueError(f"{path}: {size} bytes, expected a config of at most {_MOST_BYTES}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: no text ({error})") from None
    content = read_yaml(text, str(path))
    merged: dict[str, Any] = {}
    for name in _bases(content, path):
        base = path.parent / os.path.expanduser(name)
        if within and not any(base.resolve().is_relative_to(folder) for folder in within):
            folders = " or ".join(map(str, within))
            raise ValueError(
                f"{path}: {BASE} is {name}, but the config of a run takes files of {folders} alone"
            )
        if not base.is_file():
            raise ValueError(f"{path}: {BASE} is {name}, but there is no file {base}")
        if without is None or not base.resolve().is_relative_to(without.resolve()):
            _lay_over(merged, _read(base, within, without, (*above, real)), path)
    _lay_over(merged, content, path)
    return merged


def _bases(content: dict, path: Path) -> list[str]:
    found = content.pop(BASE, [])
    names = found if isinstance(found, list) else [found]
    for name in names:
        if not isinstance(name, str) or not name or "\0" in name:
            raise ValueError(f"{path}: {BASE} is {name!r}, expected a file's name")
        if "://" in name:
            raise ValueError(f"{path}: {BASE} is the address {name}, expected a file on this disk")
    return names


def _lay_over(below: dict, above: dict, path: Path) -> None:
    """Put the values of `above` into `below`."""
    for key, value in above.items():
        if isinstance(value, dict) and key in below:
            if not isinstance(below[key], dict):
                raise ValueError(f"{path}: {key} has keys, but is a value in {BASE}")
            _lay_over(below[key], value, path)
        else:
            below[key] = value
