"""Install the pure-Python Detectron2 from PyPI, unless this Python already has a Detectron2.

Detectron2 itself is not on PyPI, but the wheel labgym 3.1.2 there carries its Python files, of
upstream commit 864913f0, with "detectron2" renamed to "LabGym.detectron2" inside them. This
script downloads that wheel, takes those files and nothing else of LabGym, undoes the renaming,
verifies each file against the checksums of the upstream commit (the list beside this script)
and installs them as the distribution "detectron2" 0.6 with its dependencies and its licence.

It takes seconds and no compiler. The price: the compiled operators (detectron2._C: rotated
boxes, deformable convolution, fast COCO evaluation) are absent; ctmasknet needs none of them.
For those, install Detectron2 by its own guide instead, and this script will leave it alone.
"""

import argparse
import base64
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

COMMIT = "864913f0e57e87a75c8cc0c7d79ecbd774fc669b"
CHECKSUMS = Path(__file__).with_name(f"detectron2_{COMMIT[:8]}.sha256")
LICENCE = Path(__file__).parents[1] / "LICENSE"  # Apache-2.0, Detectron2's as well as ours
GUIDE = "https://detectron2.readthedocs.io/en/latest/tutorials/install.html"
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


class InstallError(Exception):
    """The installation cannot go on; the message says why and what to do."""


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
        InstallError: a file is missing or differs from upstream's; names it.
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
        raise InstallError(
            f"{wheel_path.name} does not hold the expected Detectron2: {len(wrong)} of "
            f"{len(checksums)} files do not verify ({'; '.join(wrong[:5])}"
            f"{'; ...' if len(wrong) > 5 else ''}); nothing was installed"
        )
    return files


def write_wheel(files: dict[str, bytes], licence: bytes, folder: Path) -> Path:
    """Write `files` and the licence's text as the wheel of detectron2 0.6 into `folder`."""
    info = "detectron2-0.6.dist-info"
    contents = {
        **files,
        f"{info}/licenses/LICENSE": licence,
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


def import_detectron2() -> subprocess.CompletedProcess[str]:
    """Import Detectron2 in a new process of this Python, which prints its version and folder."""
    code = "import detectron2 as d; print(d.__version__, 'in', d.__path__[0])"
    # -P: a clone of Detectron2 in the current folder is no installation.
    return subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)


def last_line(process: subprocess.CompletedProcess[str]) -> str:
    """Return the last line a failed process printed, its reason."""
    return (process.stderr.strip() or "no reason given").splitlines()[-1]


def pip(*arguments: str) -> None:
    """Run this Python's pip.

    Raises:
        InstallError: pip failed; gives its last line.
    """
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        raise InstallError(
            f"`pip {arguments[0]}` failed ({last_line(process)}); check the network and run this "
            f"again, or install Detectron2 by its own guide: {GUIDE}"
        )


def install() -> None:
    """Download, verify, repack and install Detectron2.

    Raises:
        InstallError: pip failed, or a file does not verify.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        requirements = folder / "requirements.txt"
        requirements.write_text(CARRIER)
        # LabGym excludes Python 3.11 and later; Detectron2's files run on them.
        options = "--no-deps --only-binary=:all: --ignore-requires-python --require-hashes"
        pip("download", *options.split(), "--dest", temporary, "--requirement", str(requirements))
        (carrier,) = folder.glob("*.whl")
        files = verified_files(carrier, read_checksums(CHECKSUMS))
        print(f"{len(files)} files verified; installing them with their dependencies", flush=True)
        pip("install", str(write_wheel(files, LICENCE.read_bytes(), folder)))


def main() -> int:
    """Run the command line; returns the exit status."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    found = import_detectron2()
    if found.returncode == 0:
        print(f"Detectron2 is already there and is left as it is: {found.stdout.strip()}")
        return 0
    print(f"Detectron2 is not there: downloading its Python files, commit {COMMIT[:8]}", flush=True)
    try:
        install()
    except InstallError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    installed = import_detectron2()
    if installed.returncode:
        print(
            f"error: detectron2 is installed but does not import ({last_line(installed)}); "
            "run `pip install -e .` in ctmasknet's folder for what it needs",
            file=sys.stderr,
        )
        return 2
    print(f"Detectron2 installed: {installed.stdout.strip()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
