"""Codes of lesion classes: DICOM's and SNOMED CT's, those that users register, private ones."""

import pytest
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from ctmasknet.quantification import segment_codes
from ctmasknet.quantification.segment_codes import (
    PRIVATE_SCHEME,
    SEGMENT_CODES,
    SegmentCode,
    private_code_notes,
    register_segment_code,
    register_segment_codes,
)

# Of SNOMED CT, but not in pydicom's dictionary.
_NOT_IN_PYDICOM = {
    "95436008": "Lung consolidation",
    "87433001": "Pulmonary emphysema",
    "12295008": "Bronchiectasis",
    "46621007": "Atelectasis",
}


def segment_code(name):
    return segment_codes.segment_codes([name])[0]


@pytest.fixture(autouse=True)
def same_codes(monkeypatch):
    """Every test leaves the table as it was."""
    monkeypatch.setattr(segment_codes, "SEGMENT_CODES", SEGMENT_CODES | {})


def test_codes_are_those_of_the_dictionary():
    known = {(code.scheme_designator, code.value, code.meaning) for code in _dictionary()}
    for code in SEGMENT_CODES.values():
        if code.value in _NOT_IN_PYDICOM:
            assert (code.scheme, code.meaning) == ("SCT", _NOT_IN_PYDICOM[code.value])
        else:
            assert (code.scheme, code.value, code.meaning) in known


def _dictionary():
    for scheme in (codes.SCT, codes.DCM):
        for keyword in scheme.dir():
            try:
                yield getattr(scheme, keyword)
            except RuntimeError:  # a keyword of several codes: none of ours
                continue


@pytest.mark.parametrize(
    ("name", "value", "region"),
    [
        ("GGO", "112120", codes.SCT.Lung),
        ("consolidation", "95436008", codes.SCT.Lung),
        ("lesion", "52988006", None),
        ("nodule", "27925004", None),
        ("effusion", codes.SCT.Effusion.value, None),
        ("Pleural_Effusion", "60046008", codes.SCT.PleuralStructure),
        ("ground-glass opacity", "112120", codes.SCT.Lung),
    ],
)
def test_neither_case_nor_what_parts_the_words_counts(name, value, region):
    code = segment_code(name)
    assert (code.value, code.region) == (value, region) and not code.is_private


def test_a_class_without_a_code_has_a_private_one_of_its_name():
    first, again, other = map(segment_code, ("cavity 2", "cavity 2", "Höhle"))
    assert first == again and first.value != other.value
    assert (len(first.value), first.scheme, first.meaning) == (16, "99CTMASKNET", "cavity 2")
    assert first.value == "8034D0D6556F99E5"  # in files that were written
    assert first.is_private and first.region is None and other.meaning == "Höhle"
    (note,) = private_code_notes(["GGO", "cavity 2"])
    assert note.startswith(
        f"'cavity 2' has no DICOM code: the DICOM SEG has the private code {first.value}"
    )
    assert PRIVATE_SCHEME in note and "register_segment_code" in note


def test_a_code_is_registered_or_replaced():
    region = Code("39607008", "SCT", "Lung")
    mine = register_segment_code("Cavity 2", "CAV2", "99MYLAB", "Cavity of kind 2", region)
    assert segment_code("cavity_2") == mine and not private_code_notes(["CAVITY 2"])
    register_segment_code("C", "CAV", "99MYLAB", "Cavity")
    assert segment_code("C").meaning == "Cavity"


@pytest.mark.parametrize(
    ("classes", "private"),
    [(("GGO", "C"), []), (("C",), ["C"]), (("A", "B", "C"), ["A", "B", "C"])],
)
def test_c_is_consolidation_beside_ggo_alone(classes, private):
    found = segment_codes.segment_codes(classes)
    assert [x.meaning for x in found if x.is_private] == private
    assert all(x.meaning == "Lung consolidation" for x in found[-1:] if not x.is_private)


def test_codes_from_a_file(tmp_path):
    file = tmp_path / "codes.csv"
    file.write_text("name,value,scheme,meaning\nmy cavity,CAV,99MYLAB,Cavity\n")
    register_segment_codes(file)
    assert segment_code("My Cavity") == SegmentCode("CAV", "99MYLAB", "Cavity")
    file.write_text("name,value,scheme,meaning\na,1,99A,x\nb,,99A,x\n")
    with pytest.raises(ValueError, match="codes.csv, line 3: found '' in a DICOM code"):
        register_segment_codes(file)
    file.write_text("name;value\n")
    with pytest.raises(ValueError, match="found the columns 'name;value', expected 'name,value"):
        register_segment_codes(file)
    file.write_bytes(b"name,value,scheme,meaning\na,1,99A,\xff\n")
    with pytest.raises(ValueError, match="codes.csv: not a UTF-8 CSV"):
        register_segment_codes(file)
    with pytest.raises(FileNotFoundError, match="no such file of DICOM codes"):
        register_segment_codes(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("text", "most"),
    [(("", "99A", "x"), 16), (("1" * 17, "99A", "x"), 16), (("1", "99A", "x" * 65), 64)]
    + [(("1", "99A\\B", "x"), 16), (("1", "99A", "two\nlines"), 64)],
)
def test_what_dicom_does_not_take_is_refused(text, most):
    with pytest.raises(ValueError, match=f"in a DICOM code, expected 1 to {most} printable"):
        register_segment_code("x", *text)
    assert segment_code("x").is_private
