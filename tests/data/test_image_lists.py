"""Image lists: what is read, and which line is to blame."""

import pytest

from ctmasknet.data.image_lists import load_image_list

HEADER = "file,label,patient,scan\n"


@pytest.fixture
def write(tmp_path):
    def write(text, encoding="utf-8"):
        for name in ("a.png", "b.png"):
            (tmp_path / name).touch()
        path = tmp_path / "list.csv"
        path.write_text(text, encoding=encoding)
        return path

    return write


def test_records(write, tmp_path):
    path = write(HEADER + "a.png,2,p1,p1_s1\n\nb.png,Common Pneumonia,p2,p2_s1\n")
    assert load_image_list(path) == [
        {
            "file_name": str(tmp_path / "a.png"),
            "image_id": "a.png",
            "label": 2,
            "patient": "p1",
            "scan": "p1_s1",
        },
        {
            "file_name": str(tmp_path / "b.png"),
            "image_id": "b.png",
            "label": 1,
            "patient": "p2",
            "scan": "p2_s1",
        },
    ]


def test_own_classes_extra_columns_and_byte_order_mark(write):
    path = write("file,source,label,scan,patient\na.png,x,sick,s,p\n", encoding="utf-8-sig")
    (record,) = load_image_list(path, classes=("well", "sick"))
    assert (record["label"], record["patient"], record["scan"]) == (1, "p", "s")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"list\.csv, line 1: .*expected 'file,label,patient,scan'"),
        ("file;label;patient;scan\n", r"line 1: found the columns 'file;label;patient;scan'"),
        ("file,label,patient\na.png,0,p\n", r"line 1: .*\(no scan\)"),
        (HEADER, "found no slice"),
        (HEADER + "a.png,0,p,s\nb.png,0,p\n", r"list\.csv, line 3: no value for 'scan'"),
        (HEADER + "a.png,0,,s\n", r"line 2: no value for 'patient'"),
        (HEADER + "a.png,3,p,s\n", r"line 2: unknown label '3', expected 0 to 2 or .*COVID-19"),
        (HEADER + "a.png,-1,p,s\n", r"line 2: unknown label '-1'"),
        (HEADER + "a.png,0,p,s\na.png,1,p,s\n", r"line 3: a\.png is already in line 2"),
    ],
)
def test_errors_name_file_and_line(write, text, message):
    with pytest.raises(ValueError, match=message):
        load_image_list(write(text))


def test_not_text(write, tmp_path):
    path = write("")
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ValueError, match="not a UTF-8 CSV"):
        load_image_list(path)


def test_missing_files(write, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv: no such image list"):
        load_image_list(tmp_path / "none.csv")
    path = write(HEADER + "a.png,0,p,s\nx.png,0,p,s\ny.png,0,p,s\n")
    with pytest.raises(FileNotFoundError, match=r"x\.png: no such file; 2 of the files.*list\.csv"):
        load_image_list(path)
