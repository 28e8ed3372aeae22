"""Warnings of other libraries stay off the terminal; what matters of them is a note of ours."""

import logging
import subprocess
import sys
import warnings

import pytest
from dicom_files import lung_hu, write_series

from ctmasknet.errors import RAISE, collecting
from ctmasknet.library_warnings import collected_warnings
from ctmasknet.volumes.volume_files import read_volume

SCRIPT = """
import logging, warnings
from ctmasknet.library_warnings import quiet_libraries
quiet_libraries()
warnings.warn("of a library")
for name in ("pydicom", "highdicom"):
    logging.getLogger(name).warning("of its log")
logging.getLogger("ctmasknet.any").warning("of ours")
"""


@pytest.mark.slow  # starts Python twice
@pytest.mark.parametrize("options", [(), ("-W", "default")])
def test_the_terminal_shows_ours_alone_but_where_they_are_asked_for(options):
    done = subprocess.run([sys.executable, *options, "-c", SCRIPT], capture_output=True, text=True)
    shown = done.stderr
    assert done.returncode == 0 and "of ours" in shown and "of its log" not in shown
    assert ("of a library" in shown) == bool(options)


def test_collected_from_warnings_and_logs(recwarn, caplog):
    level = logging.getLogger("pydicom").level
    with collected_warnings() as texts:
        warnings.warn("one", stacklevel=1)
        logging.getLogger("pydicom").warning("two")
        logging.getLogger("pydicom").info("three")
    assert sorted(texts) == ["one", "two"]
    assert not recwarn.list and not caplog.records
    assert logging.getLogger("pydicom").level == level


def broken(folder, found, put, **tags):
    """A series in whose files some bytes are others, of the same number."""
    assert len(found) == len(put)
    for path in write_series(folder, lung_hu(3), **tags):
        content = path.read_bytes()
        assert found in content
        path.write_bytes(content.replace(found, put))
    return folder


def test_texts_in_another_character_set_are_noted(tmp_path, recwarn, capfd):
    tags = {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Wang^Xiao"}
    put = "王^小".encode("gb2312") + b"abcd"
    folder = broken(tmp_path / "scan", b"Wang^Xiao", put, **tags)
    volume = read_volume(folder, errors=(errors := collecting()))
    assert len(volume) == 3 and errors.messages == []
    (note,) = errors.notes
    assert note.startswith(f"{folder}: names and descriptions in the headers may be wrong")
    assert not recwarn.list and capfd.readouterr().err == ""
    assert read_volume(folder).skipped == (note,) and RAISE.notes == []


def test_values_that_do_not_matter_are_not_told(tmp_path, recwarn, capfd):
    tags = {"PatientBirthDate": "19000101", "FrameOfReferenceUID": "1.2.3.4567"}
    folder = broken(tmp_path / "scan", b"1.2.3.4567", b"1.2.3.0456", **tags)
    broken(tmp_path / "other", b"19000101", b"00000000", **tags)
    for name in ("scan", "other"):
        assert read_volume(folder.with_name(name)).skipped == ()
    assert not recwarn.list and capfd.readouterr().err == ""
