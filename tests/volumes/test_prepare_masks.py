"""Masks of scans -> lesions of their slices -> masks again."""

import functools
import json

import highdicom
import numpy as np
import pycocotools.mask as mask_util
import pytest
import SimpleITK as sitk
from dicom_files import SIZE, edit_tags, image_of, lung_hu, save_volume, write_series

from ctmasknet.data.coco_lesions import read_coco_lesions
from ctmasknet.data.images import read_slice
from ctmasknet.data.registration import lesion_records
from ctmasknet.data.splits import split_coco
from ctmasknet.quantification.dicom_seg import write_dicom_seg
from ctmasknet.volumes.volume_files import read_volume

VALUES = "1=GGO,2=C"
ABOUT = {
    "models": [{"role": "lesions", "name": "R18", "sha256": "ab" * 32}],
    "versions": {"ctmasknet": "0.1.0"},
}


@pytest.fixture
def run(command):
    return functools.partial(command, "prepare", "volumes", "--keep-identifiers")


@pytest.fixture
def back(command):
    return functools.partial(command, "prepare", "label-maps")


def lesions_of(slices=8):
    """One lesion of GGO in slices 1 to 3, which moves by its own width to a corner; two of C, of
    which one touches the GGO; C in slice 5 alone, at the same place as in slice 3."""
    labels = np.zeros((slices, SIZE, SIZE), np.uint8)
    labels[1, 2:5, 2:5] = 1
    labels[2, 5:8, 5:8] = 1  # shares a corner with that of slice 1
    labels[3, 4:9, 7:9] = 1
    labels[3, 4:9, 9:12] = 2
    labels[5, 4:9, 9:12] = 2
    return labels


def save_turned(path, array, axes=(-1, -1, 1)):
    """Write (Z, Y, X) LPS values as a file whose index axes run along the other ends, as RAS."""
    turned = array[:: axes[2], :: axes[1], :: axes[0]]
    image = image_of(np.ascontiguousarray(turned))
    image.SetDirection(np.diag(np.array(axes, float)).ravel().tolist())
    sizes, spacing = np.array(array.shape[::-1]), np.array((0.7, 0.7, 2.0))
    origin = np.array((-50.0, -60, -100)) + np.where(np.array(axes) < 0, (sizes - 1) * spacing, 0)
    image.SetOrigin(origin.tolist())
    sitk.WriteImage(image, str(path))
    return path


def same_file(one, other):
    first, second = sitk.ReadImage(str(one)), sitk.ReadImage(str(other))
    for read in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert np.allclose(getattr(first, read)(), getattr(second, read)(), atol=1e-6)
    return np.array_equal(sitk.GetArrayFromImage(first), sitk.GetArrayFromImage(second))


@pytest.fixture
def cases(tmp_path):
    """Scans a and b with masks; b's slices are another number, and lie the other way round."""
    for name in ("scans", "masks"):
        (tmp_path / name).mkdir()
    save_volume(tmp_path / "scans/a.nii.gz", lung_hu())
    save_volume(tmp_path / "masks/a.nrrd", lesions_of())
    save_turned(tmp_path / "scans/b.nii.gz", lung_hu(6))
    save_turned(tmp_path / "masks/b.nii.gz", lesions_of(6))
    return tmp_path


@pytest.fixture
def prepared(cases, run):
    code, out, err = run(
        cases / "scans", "--masks", cases / "masks", "--values", VALUES, "--output", cases / "out"
    )
    assert code == 0, err
    return cases / "out/lesions.json"


def test_lesions_of_a_volume(prepared):
    coco, masks, repairs = read_coco_lesions(prepared)
    assert repairs == ()
    assert [x["name"] for x in coco["categories"]] == ["GGO", "C"]
    own = [x for x in coco["images"] if x["scan"] == "a"]
    assert [x["slice_index"] for x in own] == [*range(8)]  # those without lesions stay
    assert {x["patient"] for x in own} == {"a"}
    assert all(x["spacing"] == pytest.approx([2, 0.7, 0.7]) for x in own)
    found = [
        (image["slice_index"], x["category_id"], x["bbox"], x["lesion_id"])
        for x in coco["annotations"]
        for image in own
        if image["id"] == x["image_id"]
    ]
    assert found == [
        (1, 1, [2, 2, 3, 3], 1),
        (2, 1, [5, 5, 3, 3], 1),
        (3, 1, [7, 4, 2, 5], 1),
        (3, 2, [9, 4, 3, 5], 2),
        (5, 2, [9, 4, 3, 5], 3),
    ]
    assert coco["info"]["mask_values"] == {"GGO": 1, "C": 2}
    assert len(masks) == 10  # b's are numbered by themselves
    assert sorted({x["lesion_id"] for x in coco["annotations"]}) == [1, 2, 3]


def test_slices_are_upright_and_masks_lie_on_them(prepared):
    upright = lesions_of(6)
    coco, masks, _ = read_coco_lesions(prepared)
    for image in coco["images"]:
        if image["scan"] == "b":
            z, grey = image["slice_index"], read_slice(prepared.parent / image["file_name"])
            expected = read_volume(prepared.parents[1] / "scans/a.nii.gz").slice(z)
            assert np.array_equal(grey, expected)
            found = np.zeros((SIZE, SIZE), np.uint8)
            for x, mask in zip(coco["annotations"], masks, strict=True):
                if x["image_id"] == image["id"]:
                    found += x["category_id"] * mask_util.decode(mask)
            assert np.array_equal(found, upright[z])


def test_there_and_back_again(prepared, back, tmp_path):
    assert back(prepared, "--output", tmp_path / "back")[0] == 0
    files = sorted(path.name for path in (tmp_path / "back").iterdir())
    assert files == ["a.nii.gz", "b.nii.gz", "dataset.json"]
    assert same_file(tmp_path / "back/a.nii.gz", tmp_path / "masks/a.nrrd")
    assert same_file(tmp_path / "back/b.nii.gz", tmp_path / "masks/b.nii.gz")
    about = json.loads((tmp_path / "back/dataset.json").read_text())
    assert about["labels"] == {"background": 0, "GGO": 1, "C": 2}
    code, _, err = back(prepared, "--output", tmp_path / "back")
    assert code == 2 and "expected a new or empty folder" in err


def test_values_of_masks_come_back_as_they_were(cases, run, back, tmp_path):
    lung = np.where(lesions_of() > 0, lesions_of() + 1, 1).astype(np.uint8)
    for name in ("a", "b"):
        (tmp_path / f"masks/{name}.nrrd").unlink(missing_ok=True)
    save_volume(tmp_path / "masks/a.mha", lung)
    values = "1=background,2=GGO,3=C"
    words = (cases / "scans/a.nii.gz", "--masks", cases / "masks/a.mha", "--values", values)
    assert run(*words, "--output", tmp_path / "out")[0] == 0
    assert back(tmp_path / "out/lesions.json", "--output", tmp_path / "back")[0] == 0
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "back/a.nii.gz")))
    assert np.array_equal(labels, np.where(lesions_of() > 0, lesions_of() + 1, 0))


def test_predictions_become_label_maps(prepared, back, tmp_path):
    """The best of two has the pixel; below the threshold nothing is written; classes have names."""
    coco, masks, _ = read_coco_lesions(prepared)
    first = coco["annotations"][0]
    image = {"image_id": first["image_id"], "segmentation": masks[0]}
    found = [
        {**image, "category_id": 7, "score": 0.8},
        {**image, "category_id": 8, "score": 0.6},
        {**image, "image_id": first["image_id"] + 1, "category_id": 7, "score": 0.4},
    ]
    run = tmp_path / "run"
    run.mkdir()
    (run / "coco_instances_results.json").write_text(json.dumps(found))
    truth = {**coco, "categories": [{"id": 7, "name": "C"}, {"id": 8, "name": "GGO"}]}
    truth["annotations"] = []
    (run / "ground_truth.json").write_text(json.dumps(truth))
    words = ("--predictions", run / "coco_instances_results.json", "--output", tmp_path / "back")
    assert back(prepared, *words)[0] == 0
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "back/a.nii.gz")))
    assert np.array_equal(labels, 2 * (lesions_of() == 1) * (np.arange(8) == 1)[:, None, None])


def test_a_merged_model_names_its_own_class(prepared, back, tmp_path):
    coco, masks, _ = read_coco_lesions(prepared)
    content = {
        "annotations": [
            {**x, "segmentation": mask, "category_id": 1, "score": 1.0}
            for x, mask in zip(coco["annotations"], masks, strict=True)
        ],
        "categories": [{"id": 1, "name": "lesion"}],
    }
    (tmp_path / "found.json").write_text(json.dumps(content))
    words = ("--predictions", tmp_path / "found.json", "--output", tmp_path / "back")
    assert back(prepared, *words)[0] == 0
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "back/a.nii.gz")))
    assert np.array_equal(labels, lesions_of() > 0)
    about = json.loads((tmp_path / "back/dataset.json").read_text())
    assert about["labels"] == {"background": 0, "lesion": 1}


def test_a_data_set_that_knows_no_scans_is_refused(prepared, back, tmp_path):
    coco = json.loads(prepared.read_text())
    del coco["scans"]
    prepared.write_text(json.dumps(coco))
    code, _, err = back(prepared, "--output", tmp_path / "back")
    assert code == 2 and "does not tell where its slices lie" in err
    assert not (tmp_path / "back").exists()


def test_a_scan_does_not_lead_out_of_the_folder(prepared, back, tmp_path):
    prepared.write_text(prepared.read_text().replace('"scan": "a"', '"scan": "../a"'))
    code, _, err = back(prepared, "--output", tmp_path / "back")
    assert code == 2 and "scan '../a': expected a name for a file" in err
    assert not (tmp_path / "back").exists() and not (tmp_path / "a.nii.gz").exists()


def test_no_scan_is_split_and_keys_survive(prepared):
    coco = read_coco_lesions(prepared).coco
    parts = split_coco(coco, {"train": 1, "val": 1}, seed=0)
    scans = [{x["scan"] for x in part["images"]} for part in parts.values()]
    assert scans[0] & scans[1] == set() and scans[0] | scans[1] == {"a", "b"}
    assert [len(part["images"]) for part in parts.values()] in ([8, 6], [6, 8])
    records = lesion_records(coco, str(prepared.parent), {1: 0, 2: 1})
    assert records[3]["slice_index"] == 3 and len(records[3]["spacing"]) == 3
    assert [x["lesion_id"] for x in records[3]["annotations"]] == [1, 2]
    for image in coco["images"]:
        del image["patient"]
    parts = split_coco(coco, {"train": 1, "val": 1}, seed=0)  # scans are not split either
    assert [len(part["images"]) for part in parts.values()] in ([8, 6], [6, 8])


def test_what_does_not_fit_is_refused(cases, run, tmp_path):
    scan, out = cases / "scans/a.nii.gz", tmp_path / "out"

    def refused(mask, *words):
        code, _, err = run(scan, "--masks", mask, "--output", out, *words)
        assert code == 2 and not out.exists()
        return err

    moved = save_volume(tmp_path / "moved.nii.gz", lesions_of(7))
    err = refused(moved, "--values", VALUES)
    assert "moved.nii.gz: found a mask of 7 x 16 x 16 voxels" in err
    assert "a.nii.gz, 8 x 16 x 16 voxels (z, y, x) of 2 x 0.7 x 0.7 mm, from x, y, z" in err
    mask = cases / "masks/a.nrrd"
    assert "found the values 1, 2, of which none is named: say" in refused(mask)
    assert "found the values 1, 2, of which 1=GGO" in refused(mask, "--values", "1=GGO")
    assert "is it the scan itself" in refused(scan, "--values", VALUES)
    assert "no such file or folder of masks" in refused(cases / "none", "--values", VALUES)
    assert "--label, --slice-labels" in refused(mask, "--values", VALUES, "--label", "0")
    (cases / "masks/a.nrrd").rename(cases / "masks/z.nrrd")
    err = refused(cases / "masks", "--values", VALUES)
    assert "a.nii.gz: no mask of it in" in err and "expected one: a file a.nii.gz" in err
    code, printed, _ = run(
        *(cases / "scans", "--masks", cases / "masks", "--values", VALUES, "--output", out),
        "--skip-bad",
    )
    assert code == 0 and "skipped 1:" in printed
    assert f"note: {cases / 'masks/z.nrrd'}: a mask of none of these scans" in printed
    assert {x["scan"] for x in read_coco_lesions(out / "lesions.json").coco["images"]} == {"b"}


def test_masks_beside_their_scans(cases, run, tmp_path):
    (cases / "masks/a.nrrd").rename(cases / "scans/a-label.nrrd")
    (cases / "masks/b.nii.gz").rename(cases / "scans/b_lesions.nii.gz")
    words = ("--masks", cases / "scans", "--values", VALUES, "--output", tmp_path / "out")
    code, printed, err = run(cases / "scans", *words)
    assert code == 0, err
    assert "of none of these" not in printed
    images = read_coco_lesions(tmp_path / "out/lesions.json").coco["images"]
    assert [x["scan"] for x in images] == ["a"] * 8 + ["b"] * 6
    save_volume(cases / "scans/a-other.nrrd", lesions_of())
    code, _, err = run(cases / "scans", *words, "--overwrite")
    assert code == 2 and "a.nii.gz: 2 masks of it in" in err


def test_one_mask_of_several_scans_is_refused(cases, run, tmp_path):
    words = ("--masks", cases / "masks/a.nrrd", "--values", VALUES, "--output", tmp_path / "out")
    code, _, err = run(cases / "scans", *words)
    assert code == 2 and "a.nrrd: one mask for 2 scans" in err


def test_a_list_with_masks_and_pseudonyms(cases, command, tmp_path):
    lines = ["file,mask,patient,scan", "scans/a.nii.gz,masks/a.nrrd,p1,s1"]
    lines += ["scans/b.nii.gz,masks/b.nii.gz,p1,s2"]
    (cases / "list.csv").write_text("\n".join(lines))
    words = ("prepare", "volumes", cases / "list.csv", "--values", VALUES)
    assert command(*words, "--output", tmp_path / "out")[0] == 0
    text = (tmp_path / "out/lesions.json").read_text()
    assert "p1" not in text and "s1" not in text
    images = json.loads(text)["images"]
    assert len({x["patient"] for x in images}) == 1 and len({x["scan"] for x in images}) == 2
    words = ("prepare", "label-maps", tmp_path / "out/lesions.json", "--output", tmp_path / "back")
    assert command(*words, "--names", tmp_path / "ctmasknet-names.csv")[0] == 0
    assert same_file(tmp_path / "back/s2.nii.gz", cases / "masks/b.nii.gz")


@pytest.fixture
def nnunet(tmp_path):
    root = tmp_path / "Dataset001"
    for name in ("imagesTr", "labelsTr"):
        (root / name).mkdir(parents=True)
    for case, slices in (("A_01", 4), ("B", 6)):
        save_turned(root / f"imagesTr/{case}_0000.nii.gz", lung_hu(slices))
        save_turned(root / f"labelsTr/{case}.nii.gz", lesions_of(6)[:slices])
    return root


def describe(root, labels, **more):
    about = {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".nii.gz", **more}
    (root / "dataset.json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    "labels",
    [{"background": 0, "GGO": 1, "C": 2}, {"0": "background", "1": "GGO", "2": "C"}],
    ids=["version 2", "version 1"],
)
def test_nnunet_there_and_back(nnunet, run, back, tmp_path, labels):
    describe(nnunet, labels)
    code, _, err = run(nnunet, "--output", tmp_path / "out")
    assert code == 0, err
    coco = read_coco_lesions(tmp_path / "out/lesions.json").coco
    assert [x["name"] for x in coco["categories"]] == ["GGO", "C"]
    assert {(x["patient"], x["scan"]) for x in coco["images"]} == {("A_01",) * 2, ("B",) * 2}
    assert back(tmp_path / "out/lesions.json", "--output", tmp_path / "back")[0] == 0
    for case in ("A_01", "B"):
        assert same_file(tmp_path / f"back/{case}.nii.gz", nnunet / f"labelsTr/{case}.nii.gz")
    masks = ("--masks", nnunet / "labelsTr", "--values", VALUES)
    assert run(nnunet / "imagesTr", *masks, "--output", tmp_path / "by_folders")[0] == 0
    again = read_coco_lesions(tmp_path / "by_folders/lesions.json").coco
    assert len(again["annotations"]) == len(coco["annotations"])


def test_what_of_nnunet_is_refused(nnunet, run, tmp_path):
    def refused(labels, *words):
        describe(nnunet, labels)
        code, _, err = run(nnunet, "--output", tmp_path / "out", *words)
        assert code == 2 and not (tmp_path / "out").exists()
        return err

    plain = {"background": 0, "GGO": 1, "C": 2}
    assert "regions of several values" in refused({"background": 0, "all": [1, 2], "C": 2})
    assert "has the label 'ignore'" in refused({**plain, "ignore": 3})
    assert 'no "labels"' in refused({})
    assert "one value has two names" in refused({**plain, "D": 2})
    save_volume(nnunet / "imagesTr/B_0001.nii.gz", lung_hu(6))
    assert "B_0001.nii.gz: expected CASE_0000.nii.gz, the only channel" in refused(plain)
    (nnunet / "imagesTr/B_0001.nii.gz").unlink()
    (nnunet / "labelsTr/B.nii.gz").rename(nnunet / "labelsTr/C.nii.gz")
    assert "B_0000.nii.gz: no B.nii.gz in" in refused(plain)


def save_seg(path, volume, labels, classes=("GGO", "C")):
    write_dicom_seg(path, volume, labels, classes, ABOUT)


@pytest.mark.parametrize(
    "axes", [((1, 0, 0), (0, 1, 0)), ((-1, 0, 0), (0, -1, 0)), ((0, 1, 0), (1, 0, 0))], ids=str
)
def test_dicom_segmentations(tmp_path, run, back, axes):
    """Of series stored in any direction, matched by the series they refer to."""
    if axes[0] == (0, 1, 0):
        hu, stored = lung_hu(), lung_hu().transpose(0, 2, 1)
        write_series(tmp_path / "scans/one", stored, FrameOfReferenceUID="1.2.5")
        for path in (tmp_path / "scans/one").iterdir():
            edit_tags(path, ImageOrientationPatient=[0, 1, 0, 1, 0, 0])
    else:
        hu = lung_hu()
        write_series(tmp_path / "scans/one", hu, axes, FrameOfReferenceUID="1.2.5")
    volume = read_volume(tmp_path / "scans/one")
    assert np.array_equal(volume.hu, hu)
    (tmp_path / "masks").mkdir()
    save_seg(tmp_path / "masks/x.dcm", volume, lesions_of())
    words = (tmp_path / "scans", "--masks", tmp_path / "masks", "--output", tmp_path / "out")
    code, _, err = run(*words)
    assert code == 0, err
    coco = read_coco_lesions(tmp_path / "out/lesions.json").coco
    assert [x["name"] for x in coco["categories"]] == ["GGO", "C"]
    assert back(tmp_path / "out/lesions.json", "--output", tmp_path / "back")[0] == 0
    (file,) = (tmp_path / "back").glob("*.nii.gz")
    found = sitk.ReadImage(str(file))
    assert np.array_equal(sitk.GetArrayFromImage(found), lesions_of())
    assert np.allclose(found.GetOrigin(), volume.origin)


def test_segments_of_single_lesions_have_their_class(tmp_path, run):
    write_series(tmp_path / "scan", lung_hu(), FrameOfReferenceUID="1.2.5")
    labels = np.where(lesions_of() == 2, 3, lesions_of())
    labels[3][labels[3] == 1] = 2
    save_seg(tmp_path / "x.dcm", read_volume(tmp_path / "scan"), labels, ("a", "b", "c"))
    dataset = highdicom.seg.segread(tmp_path / "x.dcm")
    for segment, name in zip(dataset.SegmentSequence, ("GGO", "GGO", "C"), strict=True):
        segment.SegmentLabel = f"{name} {segment.SegmentNumber}"
        segment.SegmentDescription = name
    dataset.save_as(tmp_path / "lesions.dcm")
    words = (tmp_path / "scan", "--masks", tmp_path / "lesions.dcm", "--output", tmp_path / "out")
    assert run(*words)[0] == 0
    coco = read_coco_lesions(tmp_path / "out/lesions.json").coco
    assert [x["name"] for x in coco["categories"]] == ["GGO", "C"]
    assert [x["lesion_id"] for x in coco["annotations"]] == [1, 1, 1, 2, 3]
    code, _, err = run(*words, "--values", "1=GGO,2=GGO", "--overwrite")
    assert code == 2 and "segment 3 (C 3) is not named by --values" in err
    assert run(*words, "--values", "1=GGO,2=background,3=background", "--overwrite")[0] == 0
    coco = read_coco_lesions(tmp_path / "out/lesions.json").coco
    assert [x["bbox"] for x in coco["annotations"]] == [[2, 2, 3, 3], [5, 5, 3, 3]]


def test_segmentations_that_do_not_fit(tmp_path, run):
    write_series(tmp_path / "scan", lung_hu(), FrameOfReferenceUID="1.2.5")
    write_series(tmp_path / "far", lung_hu(), step=3.0, FrameOfReferenceUID="1.2.5")
    save_seg(tmp_path / "far.dcm", read_volume(tmp_path / "far"), lesions_of())
    out = tmp_path / "out"
    code, _, err = run(tmp_path / "scan", "--masks", tmp_path / "far.dcm", "--output", out)
    assert code == 2 and "far.dcm: found a frame of 16 x 16 pixels at x, y, z" in err
    assert "expected one on a slice of the scan" in err
    volume = read_volume(tmp_path / "scan")
    save_seg(tmp_path / "good.dcm", volume, lesions_of())
    dataset = highdicom.seg.segread(tmp_path / "good.dcm")
    frames = dataset.PerFrameFunctionalGroupsSequence
    for frame in frames:  # of all slices onto one
        frame.PlanePositionSequence[0].ImagePositionPatient[2] = -98.0
    frames[-1].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 1
    dataset.save_as(tmp_path / "bad.dcm")
    code, _, err = run(tmp_path / "scan", "--masks", tmp_path / "bad.dcm", "--output", out)
    assert code == 2 and "overlap in slice 1" in err
    dataset.SegmentationType = "FRACTIONAL"
    dataset.save_as(tmp_path / "bad.dcm")
    code, _, err = run(tmp_path / "scan", "--masks", tmp_path / "bad.dcm", "--output", out)
    assert code == 2 and "its type is FRACTIONAL, expected a BINARY" in err
