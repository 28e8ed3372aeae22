"""Install Detectron2, which is not on PyPI, into this Python; one that is there is left alone.

    ctmasknet-install-detectron2                 # its Python files, from PyPI: seconds, no compiler
    ctmasknet-install-detectron2 --source 'git+https://github.com/facebookresearch/detectron2'
    ctmasknet-install-detectron2 --source PATH   # a checkout of it, or a wheel

--source has pip build all of Detectron2 against the PyTorch that is installed, which takes a C++
compiler (for a GPU, CUDA's too) and minutes. It replaces a Detectron2 that is there.

Without --source: Detectron2 itself is not on PyPI, but the wheel labgym 3.1.2 there carries its
Python files, of upstream commit 864913f0, with "detectron2" renamed to "LabGym.detectron2" inside
them. Those files alone are taken, the renaming is undone, each is verified against the checksums
of the upstream commit, and they are installed as the distribution "detectron2" 0.6 with its
dependencies and its licence. The compiled operators (rotated boxes, deformable convolution, fast
COCO evaluation) are absent; ctmasknet needs none of them.
"""

import argparse
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from .labgym_wheel import CARRIER, CHECKSUMS, COMMIT, read_checksums, verified_files, write_wheel

GUIDE = "https://detectron2.readthedocs.io/en/latest/tutorials/install.html"


class InstallError(Exception):
    """The installation cannot go on; the message says why and what to do."""


def import_detectron2() -> subprocess.CompletedProcess[str]:
    """Import Detectron2 in a new process of this Python, which prints its version and folder."""
    code = "import detectron2 as d; print(d.__version__, 'in', d.__path__[0])"
    # -P: a clone of Detectron2 in the current folder is no installation.
    return subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)


def last_line(process: subprocess.CompletedProcess[str]) -> str:
    """Return the last line a failed process printed, its reason."""
    return (process.stderr.strip() or "no reason given").splitlines()[-1]


def pip(*arguments: str) -> None:
    """Run this Python's pip without its output; raises an InstallError with its last line."""
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        raise InstallError(
            f"`pip {arguments[0]}` failed ({last_line(process)}); check the network and run this "
            f"again, or install Detectron2 by its own guide: {GUIDE}"
        )


def install_python_files() -> None:
    """Download, verify, repack and install Detectron2's Python files.

    Raises:
        InstallError: pip failed.
        ValueError: a file does not verify.
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
        pip("install", str(write_wheel(files, folder)))


def install_source(source: str) -> None:
    """Have pip build and install Detectron2 from a path or URL, its output shown.

    Raises:
        InstallError: there is no such path, what a build needs is missing, or pip failed.
    """
    if "://" not in source and not Path(source).exists():
        raise InstallError(f"--source {source}: no such file or folder")
    for needed in ("torch", "setuptools"):  # which the build takes from this Python
        if find_spec(needed) is None:
            raise InstallError(f"building Detectron2 needs {needed}: pip install {needed}")
    command = [sys.executable, "-m", "pip", "install", "--no-build-isolation", source]
    if subprocess.run(command).returncode:
        raise InstallError(
            f"`pip install --no-build-isolation {source}` failed, see above; Detectron2's guide "
            f"has what it needs: {GUIDE}. Without --source no compiler is needed"
        )


def install(source: str | None) -> str:
    """Install Detectron2 unless it is there; return a line that says what was done.

    Raises:
        InstallError, ValueError: it cannot be installed, or does not import once it is.
    """
    if source is not None:
        install_source(source)
    else:
        found = import_detectron2()
        if found.returncode == 0:
            return f"Detectron2 is already there and is left as it is: {found.stdout.strip()}"
        print(f"Detectron2 is not there: downloading its Python files, commit {COMMIT[:8]}")
        sys.stdout.flush()
        install_python_files()
    installed = import_detectron2()
    if installed.returncode:
        raise InstallError(
            f"detectron2 is installed but does not import ({last_line(installed)}); install "
            "ctmasknet first, which brings what it needs, and look for a Detectron2 of this PyTorch"
        )
    return f"Detectron2 installed: {installed.stdout.strip()}"


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="ctmasknet-install-detectron2",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--source", metavar="PATH_OR_URL", help="of Detectron2's sources or a wheel"
    )
    try:
        print(install(parser.parse_args().source))
    except (InstallError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
