"""Detectron2's Python files, from the wheel on PyPI that carries them to a wheel of their own."""

import base64
import hashlib
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

COMMIT = "864913f0e57e87a75c8cc0c7d79ecbd774fc669b"
CHECKSUMS = Path(__file__).with_name(f"detectron2_{COMMIT[:8]}.sha256")
CARRIER = (
    "labgym==3.1.2 --hash=sha256:a2900cff8a3fb508e1975f19b5f9abd9f261966db87b0c332697fb4138c1cb2b\n"
)

# Detectron2's own list, less black, which only LazyConfig.to_py imports, to format its output.
# License, not License-Expression: `pip show` of the pip in Python 3.11's venv knows no other.
METADATA = f"""\
Metadata-Version: 2.1
Name: detectron2
Version: 0.6
Summary: Detectron2 at commit {COMMIT[:8]}, pure Python, without its compiled operators
Home-page: https://github.com/facebookresearch/detectron2
Author: FAIR
License: Apache-2.0
License-File: LICENSE
Requires-Python: >=3.7
Requires-Dist: Pillow>=7.1
Requires-Dist: matplotlib
Requires-Dist: pycocotools>=2.0.2
Requires-Dist: termcolor>=1.1
Requires-Dist: yacs>=0.1.8
Requires-Dist: tabulate
Requires-Dist: cloudpickle
Requires-Dist: tqdm>4.29.0
Requires-Dist: tensorboard
Requires-Dist: fvcore<0.1.6,>=0.1.5
Requires-Dist: iopath<0.1.10,>=0.1.7
Requires-Dist: omegaconf<2.4,>=2.1
Requires-Dist: hydra-core>=1.1
Requires-Dist: packaging
"""
WHEEL = """\
Wheel-Version: 1.0
Generator: install_detectron2
Root-Is-Purelib: true
Tag: py3-none-any
"""


def read_checksums(path: Path) -> dict[str, str]:
    """Read a list in the format of sha256sum as {file name: SHA-256 in hex}."""
    pairs = (line.split(maxsplit=1) for line in path.read_text().splitlines())
    return {name: digest for digest, name in pairs}


def verified_files(wheel_path: Path, checksums: dict[str, str]) -> dict[str, bytes]:
    """Take Detectron2's files out of the carrier's wheel, undo the renaming and verify them.

    Args:
        wheel_path: a wheel that holds each file `name` as `LabGym/name`.
        checksums: {name: SHA-256 in hex} of the upstream files; no other file is taken.

    Returns:
        {name: content}, in the order of `checksums`.

    Raises:
        ValueError: a file is missing or differs from upstream's; names it.
    """
    files = {}
    wrong = []
    with zipfile.ZipFile(wheel_path) as wheel:
        members = set(wheel.namelist())
        for name, expected in checksums.items():
            if f"LabGym/{name}" not in members:
                wrong.append(f"{name} is missing")
                continue
            content = wheel.read(f"LabGym/{name}").replace(b"LabGym.detectron2", b"detectron2")
            if hashlib.sha256(content).hexdigest() != expected:
                wrong.append(f"{name} differs from upstream's")
            files[name] = content
    if wrong:
        raise ValueError(
            f"{wheel_path.name} does not hold the expected Detectron2: {len(wrong)} of "
            f"{len(checksums)} files do not verify ({'; '.join(wrong[:5])}"
            f"{'; ...' if len(wrong) > 5 else ''}); nothing was installed"
        )
    return files


def licence() -> bytes:
    """Return the text of Apache-2.0, which is Detectron2's licence as well as ctmasknet's."""
    try:
        text = distribution("ctmasknet").read_text("licenses/LICENSE")
    except PackageNotFoundError:
        text = None
    return text.encode() if text else (Path(__file__).parents[1] / "LICENSE").read_bytes()


def write_wheel(files: dict[str, bytes], folder: Path) -> Path:
    """Write `files` and the licence as the wheel of detectron2 0.6 into `folder`."""
    info = "detectron2-0.6.dist-info"
    contents = {
        **files,
        f"{info}/licenses/LICENSE": licence(),
        f"{info}/METADATA": METADATA.encode(),
        f"{info}/WHEEL": WHEEL.encode(),
    }
    record = ""
    for name, content in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        record += f"{name},sha256={digest},{len(content)}\n"
    contents[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()

    path = folder / "detectron2-0.6-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in contents.items():
            wheel.writestr(name, content)
    return path
