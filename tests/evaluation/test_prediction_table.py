import numpy as np
import pytest

from ctmasknet.evaluation.prediction_table import (
    make_table,
    portable_names,
    read_predictions,
    write_predictions,
)

HEAD = "file_name,patient,scan,label,logit_0,logit_1,logit_2\n"
ROW = "a.png,P1,S1,0,1.5,-2,0.25\n"


def write(tmp_path, text):
    path = tmp_path / "predictions.csv"
    path.write_text(text)
    return path


def test_round_trip_keeps_every_bit(tmp_path):
    random = np.random.default_rng(0)
    rows = [
        (f"dir/{i}, x.png", f"P{i % 3}", f"S{i}", i % 2, random.normal(size=2)) for i in range(9)
    ]
    table = make_table(rows[::-1], ["COVID", "Non-COVID"], "test")
    write_predictions(table, tmp_path / "out" / "predictions.csv")
    again = read_predictions(tmp_path / "out" / "predictions.csv", ["COVID", "Non-COVID"])
    assert again.file_names == table.file_names == tuple(sorted(row[0] for row in rows))
    assert (again.patients, again.scans) == (table.patients, table.scans)
    assert np.array_equal(again.logits, table.logits) and again.logits.dtype == np.float64
    assert again.labels.tolist() == table.labels.tolist()
    assert again.fingerprint() == table.fingerprint()


def test_labels_may_be_names_and_further_columns_are_ignored(tmp_path):
    text = HEAD.replace("\n", ",note\n") + ROW.replace(",0,1.5", ",COVID-19,1.5").replace(
        "\n", ",good\n"
    )
    table = read_predictions(write(tmp_path, "\ufeff" + text))
    assert table.class_names == ("Control", "Common Pneumonia", "COVID-19")
    assert table.labels.tolist() == [2] and table.logits.tolist() == [[1.5, -2, 0.25]]
    assert table.probabilities().sum() == pytest.approx(1)
    assert table.probabilities().argmax() == table.probabilities(5.0).argmax() == 0
    assert table.probabilities(5.0).max() < table.probabilities().max()


def test_other_numbers_of_classes_are_numbered(tmp_path):
    path = write(tmp_path, "file_name,patient,scan,label,logit_0,logit_1\na,p,s,1,0,1\n")
    assert read_predictions(path).class_names == ("class_0", "class_1")
    with pytest.raises(ValueError, match=r"2 logits, but 3 classes \(a, b, c\)"):
        read_predictions(path, ["a", "b", "c"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"line 1: found the columns '', expected .*no file_name, patient"),
        ("file_name,patient,scan,label,logit_0\n", r"line 1: .*\(no logit_1\)"),
        ("file_name,patient,scan,label,logit_0,logit_2\n", r"line 1: .*\(no logit_1\)"),
        (HEAD, "found no prediction"),
        (HEAD + ROW + ROW, r"a\.png is there twice"),
        (HEAD + ROW.replace("P1", ""), "line 2: no value for 'patient'; repeat file_name"),
        (HEAD + ROW.replace(",0,", ",3,"), "line 2: unknown label '3', expected 0 to 2 or one of"),
        (HEAD + ROW.replace("1.5", "high"), "line 2: logit_0 is 'high', expected a number"),
        (HEAD + ROW.replace("1.5", "nan"), "line 2: logit_0 is nan, expected a finite number"),
        (HEAD + "a.png,P1,S1,0,1.5\n", "line 2: logit_1 is 'None', expected a number"),
        (HEAD + "a.png,P1,S1,0,1,5,-2,0,25\n", "line 2: 2 fields too many; decimals need a point"),
    ],
)
def test_contract(text, message, tmp_path):
    with pytest.raises(ValueError, match=f"predictions.csv.*{message}"):
        read_predictions(write(tmp_path, text))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file of predictions"):
        read_predictions(tmp_path / "none.csv")


def test_not_text(tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ValueError, match="not a UTF-8 CSV"):
        read_predictions(path)


def test_fingerprint_is_of_the_data_not_of_the_model_or_the_place():
    def table(root="/data", label=0, logit=1.0, patient="P"):
        rows = [
            (f"{root}/x/1.png", patient, "S", label, [logit, 0]),
            (f"{root}/y/2.png", "Q", "T", 1, [0, 0]),
        ]
        return make_table(rows, ["a", "b"], "test").fingerprint()

    assert table() == table(root="/other/place") == table(logit=9.0)
    assert len({table(), table(label=1), table(patient="R")}) == 3


def test_fingerprint_without_patients_does_not_depend_on_the_place():
    def table(root):
        files = [f"{root}/{i}.png" for i in range(3)]
        return make_table([(f, f, f, 0, [0.0, 1.0]) for f in files], ["a", "b"], "test")

    assert table("/data/x").fingerprint() == table("/mnt/y").fingerprint()


@pytest.mark.parametrize("names", [["a", "a"], ["A-B", "A B"], ["macro", "b"]])
def test_metrics_of_two_classes_must_not_have_one_name(names):
    with pytest.raises(ValueError, match=f"found the classes {', '.join(names)}, expected names"):
        make_table([("a.png", "P", "S", 0, [0.0, 1.0])], names, "test")


def test_portable_names():
    assert portable_names(["/a/b/1.png", "/a/c/2.png"]) == ["b/1.png", "c/2.png"]
    assert portable_names(["x/1.png"]) == ["1.png"]
    assert portable_names(["1.png", "2.png"]) == ["1.png", "2.png"]


def test_columns_of_probabilities(tmp_path):
    head = HEAD.replace("logit_", "prob_")
    table = read_predictions(write(tmp_path, head + "a.png,P1,S1,0,0.2,0.3,0.5\nb,p,s,1,1,0,0\n"))
    assert table.probabilities() == pytest.approx(np.array([[0.2, 0.3, 0.5], [1, 0, 0]]))
    rounded = read_predictions(write(tmp_path, head + "a.png,P1,S1,0,0.33,0.33,0.33\n"))
    assert rounded.probabilities() == pytest.approx(np.full((1, 3), 1 / 3))
    for bad in ("0.2,0.3,0.4", "-0.1,0.6,0.5", "1.1,0,-0.1", "20,30,50"):
        with pytest.raises(ValueError, match=r"line 2: probabilities .*, expected 0 to 1 that add"):
            read_predictions(write(tmp_path, head + f"a.png,P1,S1,0,{bad}\n"))


def test_probabilities_that_are_called_logits_are_told(tmp_path, caplog):
    rows = "a.png,P1,S1,0,0.2,0.3,0.5\nb,p,s,1,1,0,0\n"
    read_predictions(write(tmp_path, HEAD + rows))
    assert "name the columns prob_0, prob_1, ..., or calibration is wrong" in caplog.text
    caplog.clear()
    read_predictions(write(tmp_path, HEAD + "a,p,s,1,20,30,50\nb,p,s,1,33,33,33\n"))
    assert "within 0 to 100 and add up to 100: if they are percentages, divide them" in caplog.text
    with pytest.raises(ValueError, match=r"'20%', expected a number \(divide percentages by 100\)"):
        read_predictions(write(tmp_path, HEAD + "a,p,s,1,20%,30%,50%\n"))
    caplog.clear()
    read_predictions(write(tmp_path, HEAD + rows + "c,p,s,1,1.5,-2,1.5\n"))
    assert caplog.text == ""


def test_a_git_lfs_pointer_is_named(tmp_path):
    path = write(tmp_path, "version https://git-lfs.github.com/spec/v1\noid sha256:12\n")
    with pytest.raises(
        ValueError, match=r"predictions\.csv: found a Git LFS pointer, .*git lfs pull"
    ):
        read_predictions(path)
