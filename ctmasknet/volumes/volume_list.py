"""Which volumes are cut into slices, and what is known of them."""

import os
from dataclasses import dataclass
from pathlib import Path

from ..data.list_files import COLUMNS, read_csv
from ..data.list_paths import listed_path
from ..errors import RAISE, ErrorPolicy
from .volume import without_gz


@dataclass(frozen=True)
class VolumeEntry:
    """A volume to be cut into slices."""

    path: Path  # as `read_volume` takes it
    label: str = ""  # of all its slices: a number or a class name; "" where they have masks
    patient: str = ""  # "" takes the volume's own, as for `scan`
    scan: str = ""
    place: str = ""  # where it is listed ("list.csv, line 2"), for messages
    mask: Path | None = None  # its lesions, see `read_scan_mask`
    files: tuple[Path, ...] = ()  # of a series found in the folder `path`; () takes `path` whole

    @property
    def name(self) -> str:
        """The name of its file without suffix, or of its folder."""
        return self.path.name if self.path.is_dir() else Path(without_gz(self.path.name)).stem


def list_has_masks(csv_path: str | os.PathLike) -> bool:
    """Return whether a list of volumes has the column `mask`; errors as `read_volume_list`."""
    row = next(read_csv(Path(csv_path), "list of volumes", ("file",)), None)
    return row is not None and "mask" in row[1]


def read_volume_list(
    csv_path: str | os.PathLike, errors: ErrorPolicy = RAISE, masks: bool = False
) -> list[VolumeEntry]:
    """Read a list of volumes: UTF-8 CSV with the header `file,label,patient,scan`.

    With `masks` it has the column `mask` in the place of `label`. Files are relative to the list
    (`listed_path`). Unusable lines are errors to handle; a list without any usable line is a
    ValueError.
    """
    path = Path(csv_path)
    columns = tuple("mask" if masks and x == "label" else x for x in COLUMNS)
    entries = []
    for line, row in read_csv(path, "list of volumes", columns):
        place = f"{path}, line {line}"
        file, label, patient, scan = values = [(row[name] or "").strip() for name in columns]
        if not all(values):
            missing = columns[values.index("")]
            hint = f"; give each volume a {missing} of its own if it is unknown"
            hint = hint if missing in ("patient", "scan") else ""
            errors.handle(f"{place}: no value for '{missing}' (too few fields?){hint}")
            continue
        try:
            volume = Path(listed_path(file, path.parent))
            mask = Path(listed_path(label, path.parent)) if masks else None
        except ValueError as error:
            errors.handle(f"{place}: {error}")
            continue
        entries.append(VolumeEntry(volume, "" if masks else label, patient, scan, place, mask))
    if not entries:
        raise ValueError(
            f"{path}: found no usable volume, expected a line for each after the header"
        )
    return entries
