"""Image lists: what is read, and which line is to blame."""

import pytest
from PIL import Image

from ctmasknet.data.classes import IMAGE_CLASSES
from ctmasknet.data.coco_lesions import read_coco_lesions
from ctmasknet.data.image_lists import (
    find_classes,
    load_image_list,
    usable_images,
    write_image_list,
)
from ctmasknet.errors import collecting

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


def test_source_and_body_box(write):
    path = write(
        "file,label,patient,scan,source,xmin,ymin,xmax,ymax\n"
        "a.png,2,p1,s1,CNCB,1,2,30,40\nb.png,0,p2,s2,,,,,\n"
    )
    first, second = load_image_list(path)
    assert (first["source"], first["body_box"]) == ("CNCB", [1, 2, 30, 40])
    assert "source" not in second
    assert "body_box" not in second
    path = write("file,label,patient,scan,xmin,ymin,xmax,ymax\na.png,2,p1,s1,1,2,x,40\n")
    with pytest.raises(ValueError, match="line 2: box '1 2 x 40'"):
        load_image_list(path)


def test_unusable_lines_are_listed(write):
    path = write(HEADER + "a.png,2,p1\nb.png,0,p2,s2\nc.png,0,p3,s3\nb.png,0,p2,s2\nd.png,9,p,s\n")
    errors = collecting()
    records = load_image_list(path, errors=errors)
    assert [record["image_id"] for record in records] == ["b.png", "c.png"]  # c.png does not exist
    assert [line.partition(": ")[2] for line in errors.messages] == [
        "no value for 'scan' (too few fields?); give each slice its own if unknown",
        "b.png is already in line 3: remove one of them",
        "unknown label '9', expected 0 to 2 or one of Control, Common Pneumonia, COVID-19",
    ]
    assert ", line 2:" in errors.messages[0]


def test_one_file_under_two_spellings(write):
    with pytest.raises(ValueError, match=r"line 3: \./a\.png is already in line 2"):
        load_image_list(write(HEADER + "a.png,0,p,s\n./a.png,1,q,t\n"))


def test_find_classes(write, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(HEADER + "a.png,well,p,s\n")
    assert find_classes([write(HEADER + "a.png,2,p,s\nb.png,Control,p,s\n")]) == IMAGE_CLASSES
    assert find_classes([]) == IMAGE_CLASSES
    ill = write(HEADER + "a.png,ill,p,s\nb.png,grave,p,s\n")
    assert find_classes([ill, other]) == ("grave", "ill", "well")
    with pytest.raises(ValueError, match="what number 1 means"):
        find_classes([write(HEADER + "a.png,1,p,s\n"), other])
    assert find_classes([write(HEADER + "a.png,2,p,s\nb.png,0,p,s\n")]) == IMAGE_CLASSES


@pytest.mark.parametrize(
    "labels", [("0", "1"), ("1", "1"), ("1", "2"), ("0.0", "1.0"), ("1.0", "2.0"), ("-1", "1")]
)
def test_numbers_without_names_are_not_the_papers_classes(write, labels):
    text = HEADER + "".join(f"{k}.png,{label},p,s\n" for k, label in zip("ab", labels, strict=True))
    with pytest.raises(ValueError, match=r"what number .* means is not known: .*IMAGE_CLASSES"):
        find_classes([write(text)])


def test_names_of_ones_own_for_numbers(write):
    path = write(HEADER + "a.png,0,p,s\nb.png,1,q,t\n")
    records = load_image_list(path, ("no COVID", "COVID"))
    assert [record["label"] for record in records] == [0, 1]
    with pytest.raises(ValueError, match="unknown label '1.0', expected 0 to 1 or one of no COVID"):
        load_image_list(write(HEADER + "a.png,1.0,p,s\n"), ("no COVID", "COVID"))


def test_a_class_is_not_called_by_the_number_of_another(write):
    path = write(HEADER + "a.png,1,p,s\nb.png,2,q,t\n")
    with pytest.raises(ValueError, match="classes 1, 2: '1' stands for class 1, too, so class 0"):
        load_image_list(path, ("1", "2"))
    assert len(load_image_list(write(HEADER + "a.png,1,p,s\n"), ("0", "1"))) == 1


def test_write_and_read_again(write, tmp_path):
    names = ("ill", "well")
    path = write(
        "file,label,patient,scan,source,xmin,ymin,xmax,ymax\n"
        "a.png,ill,p1,s1,CNCB,1,2,30,40\nb.png,well,p2,s2,X,0,0,9,9\n"
    )
    records = load_image_list(path, names)
    copy = tmp_path / "new" / "copy.csv"
    write_image_list(records, names, copy)
    assert copy.read_text().split("\n")[1] == "../a.png,ill,p1,s1,CNCB,1,2,30,40"
    again = load_image_list(copy, names)
    assert [record["body_box"] for record in again] == [[1, 2, 30, 40], [0, 0, 9, 9]]
    for record in (*records, *again):
        del record["file_name"], record["image_id"]
    assert records == again
    write_image_list(
        [{**records[0], "file_name": str(tmp_path / "a.png"), "source": ""}], names, copy
    )
    assert copy.read_text().startswith("file,label,patient,scan,xmin,ymin,xmax,ymax\n")


def test_usable_images(tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "good.png")
    Image.new("P", (9, 9)).save(tmp_path / "palette.png")
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "short.png").write_bytes(whole[:-30])
    names = ("good", "palette", "none", "short")
    records = [{"file_name": str(tmp_path / f"{name}.png")} for name in names]
    with pytest.raises(ValueError, match=r"palette\.png: found a colour-mapped"):
        usable_images(records)
    errors = collecting()
    assert usable_images(records, errors) == records[:1]
    for line, found in zip(
        errors.messages, ("palette", "none.png: no such file", "short.png: cannot be"), strict=True
    ):
        assert found in line
    with pytest.raises(ValueError, match="none of the images"):
        usable_images(records[1:], collecting())


def test_lists_as_excel_saves_them(write):
    """ "CSV UTF-8" has a byte-order mark and Windows line ends, and quotes commas."""
    path = write('file,label,patient,scan\r\n"a,1.png",0,p,s\r\n', encoding="utf-8-sig")
    (record,) = load_image_list(path, errors=collecting())
    assert (record["image_id"], record["label"], record["scan"]) == ("a,1.png", 0, "s")


def test_semicolons_are_refused(write):
    path = write("file;label;patient;scan\na.png;0;p;s\n")
    with pytest.raises(ValueError, match="expected 'file,label.*with commas, not semicolons"):
        load_image_list(path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:12\n", "a Git LFS pointer"),
        ("<!DOCTYPE html>\n<html></html>\n", "an HTML page"),
    ],
)
def test_lists_that_are_something_else_are_named(write, tmp_path, text, found):
    with pytest.raises(ValueError, match=found):
        load_image_list(write(text))
    (tmp_path / "lesions.json").write_text(text)
    with pytest.raises(ValueError, match=found):
        read_coco_lesions(tmp_path / "lesions.json")


@pytest.mark.parametrize("labels", [("COVID", "covid"), ("COVID-19", "COVID 19"), ("ill", "Ill ")])
def test_a_class_in_two_spellings_is_refused(write, labels):
    text = HEADER + "".join(f"{k}.png,{label},p,s\n" for k, label in zip("ab", labels, strict=True))
    with pytest.raises(ValueError, match=r"found the labels \S+.* and .*, which may be one class"):
        find_classes([write(text)])


def test_classes_that_only_look_alike(write):
    for labels in (("COVID+", "COVID-"), ("grade 1-2", "grade 12"), ("-", "+")):
        rows = "".join(f"{k}.png,{label},p,s\n" for k, label in zip("ab", labels, strict=True))
        assert find_classes([write(HEADER + rows)]) == tuple(sorted(labels))


def test_empty_lines_as_excel_writes_them_are_no_slices(write):
    assert len(load_image_list(write(HEADER + "a.png,0,p,s\n,,,\n,,,\n"))) == 1


def test_a_list_of_which_no_line_is_usable_says_why(write):
    with pytest.raises(ValueError, match="found no slice.*; the first is not usable: .*label '9'"):
        load_image_list(write(HEADER + "a.png,9,p,s\n"), errors=collecting())


def test_backslashes_of_windows_are_named(write):
    with pytest.raises(FileNotFoundError, match=r"b\\a\.png: no such file.*write / instead of the"):
        load_image_list(write(HEADER + "b\\a.png,0,p,s\n"))
