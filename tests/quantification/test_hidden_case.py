"""Texts of a case without paths, members, quoted headers and UIDs."""

from dataclasses import replace
from pathlib import Path

import pytest
from report_cases import classified, loose

from ctmasknet.inference.inputs import Input
from ctmasknet.pseudonyms import Names
from ctmasknet.quantification.hidden_case import hide_case, hide_run, name_inputs
from ctmasknet.quantification.lung_source import LungSource


@pytest.fixture
def names(tmp_path):
    return Names(tmp_path / "names.csv")


def hidden_notes(names, source, *notes):
    (named,) = name_inputs([source], names)
    case = replace(classified(), notes=notes)
    return hide_case(case, named, LungSource(""), names).notes, named.pseudonym


@pytest.mark.parametrize("root", ["/data/Doe Jane", "Doe Jane", "../x", "a", "."])
def test_files_and_folders_of_a_series(names, root):
    folder = Path(root)
    files = (folder / "1", folder / "10", folder / "sub dir" / "I M.dcm")
    texts = [f"{path}: truncated; copy it again" for path in (*files, folder, folder / "sub dir")]
    texts += ["a mask, 1 of 10 files: 10 mm", f"took {folder}/sub dir/not listed.dcm: none"]
    found, scan = hidden_notes(names, Input("Doe", folder, files), *texts)
    slices = [names.of("slice", str(path.absolute())) for path in files]
    if root == "../x":
        slices = [note.split(":")[0] for note in found[:3]]
        assert len(set(slices)) == 3
    assert found[:3] == tuple(f"{name}: truncated; copy it again" for name in slices)
    assert found[3].startswith((f"{scan}: ", "slice-")) and found[4].startswith(("slice-", scan))
    assert found[5] == texts[5]
    if len(root) > 1:
        assert not any(word in note for word in (root, "sub dir", "listed") for note in found)


def test_members_of_a_zip(names):
    source = Input("Doe", Path("Doe.zip"))
    member = "Doe.zip!Jane Doe/12 3.dcm"
    notes = (f"{member}: damaged", "Doe.zip: no lung", "read from Doe.zip", "Doe.zips differ")
    (first, *rest), scan = hidden_notes(names, source, *notes)
    assert names.reveal(first).endswith(f"/{member}: damaged") and "Doe" not in first
    assert rest == [f"{scan}: no lung", f"read from {scan}", "Doe.zips differ"]


@pytest.mark.parametrize(
    "note, hidden",
    [
        ("found 2 series, expected one: X7 (CT, 'Jane's', 3 files); choose", "expected one: …"),
        ("of the series 'Doe O'Neil' (CT)", "of the series …"),
        ("its frame 1.2.840.113619.2.55.3 differs", "its frame …"),
        ("/data/jane/other.dcm: cannot be read", "…"),
        ("the series' 5 files take 0.5.1 mm/s or 1/2, GGO/C", None),
    ],
)
def test_what_is_not_known_is_cut(names, note, hidden):
    ((found,), _) = hidden_notes(names, Input("x", Path("x.nii")), note)
    assert found == note if hidden is None else found.endswith(hidden)
    assert hidden is None or not any(x in found for x in ("Doe", "jane", "Jane", "X7", "113619"))


def test_slices_are_called_in_notes_as_in_tables(names, tmp_path):
    case = loose([classified().slices[0]] * 2)
    files = [f"/data/doe/{name}.png" for name in ("doe1", "doe2")]
    slices = [replace(s, source=f) for s, f in zip(case.slices, files, strict=True)]
    case = replace(case, slices=tuple(slices), notes=("doe2.png: no share", f"{files[0]}: x"))
    masks = tmp_path / "masks"
    masks.mkdir()
    for name in ("doe1", "doe2"):
        (masks / f"{name}.png").write_bytes(b"")
    case = replace(case, notes=(*case.notes, f"doe1.png: {masks}/doe1.png: empty"))
    source = Input("doe", Path("/data/doe"), tuple(map(Path, files)), is_scan=False)
    (named,) = name_inputs([source], names)
    hidden = hide_case(case, named, LungSource("", masks), names)
    one, two = (s.source for s in hidden.slices)
    assert hidden.notes == (f"{two}: no share", f"{one}: x", f"{one}: a mask in a file: empty")
    assert hidden.files == tuple(files)
    assert hidden.name == hidden.source == named.folder == named.pseudonym


def test_inputs_at_one_path_are_told_apart(names):
    path = Path("/data/doe")
    inputs = [Input("doe", path, series_uid=uid) for uid in ("1.2", "1.3", "", "")]
    called = [item.folder for item in name_inputs(inputs, names)]
    assert len(set(called)) == 4
    assert [item.folder for item in name_inputs(inputs[1::-1], names)] == called[1::-1]


def test_what_a_run_tells_of_itself(names):
    about = {
        "command": "ctmasknet predict '/data/jane doe/x' --model m",
        "settings": {"lung": "/data/jane/m.nii", "series": "1.2.3", "window": "1,2"},
        "models": [{"config": "/m/a.yaml", "weights": "/m/b.pth", "trained_on": "/d/a.csv, b"}],
        "time": "now",
    }
    hidden = hide_run(about, LungSource("", Path("/data/jane/m.nii")), names)
    assert hidden == {
        "command": "ctmasknet predict",
        "settings": {
            "lung": "masks in files",
            "series": names.of("series", "1.2.3"),
            "window": "1,2",
            "identifiers": "pseudonyms",
        },
        "models": [{"config": "a.yaml", "weights": "b.pth", "trained_on": "a.csv, b"}],
        "time": "now",
    }
