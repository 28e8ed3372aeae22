"""Every bad file, line, mask and label is listed with its place; none stops the audit."""

import json

import numpy as np
import pytest
from PIL import Image

from ctmasknet.audit.figures import lesion_figures
from ctmasknet.audit.labels import label_findings, sample_counts
from ctmasknet.audit.records import (
    Slice,
    Split,
    splits_of_covidx,
    splits_of_datasets,
    splits_of_folders,
)
from ctmasknet.audit.report import as_html, as_json, as_text
from ctmasknet.audit.run import run_audit
from ctmasknet.data.classes import IMAGE_CLASSES, MASK_PRESETS, MaskValues

pytestmark = pytest.mark.slow  # whole networks, commands or data sets


def found_kinds(audit):
    return sorted(finding.kind for finding in audit.findings)


def test_all_unusable_images_are_listed(folder):
    names = [folder.image("good.png"), folder.image("other.png"), "gone.png"]
    names.append(folder.image("deep.png", Image.new("I;16", (96, 96))))
    names.append(folder.image("palette.png", Image.new("P", (96, 96))))
    names.append(folder.image("alpha.png", Image.new("RGBA", (96, 96))))
    names.append(folder.image("print.jpg", Image.new("CMYK", (96, 96))))
    names.append(folder.image("line.png", Image.new("1", (96, 96))))
    whole = (folder.path / names[0]).read_bytes()
    for name, content in {
        "cut.png": whole[: len(whole) // 2],
        "empty.png": b"",
        "page.png": b"<html>not found</html>",
        "words.txt": b"hello",
    }.items():
        (folder.path / name).write_bytes(content)
        names.append(name)
    path = folder.split("train", *(f"{name},0,{name},{name}" for name in names))
    audit = run_audit(splits_of_datasets([path]))
    assert found_kinds(audit) == ["missing_image"] + ["unreadable_image"] * 9
    for finding, name in zip(audit.findings, names[2:], strict=True):
        assert finding.message.startswith(str(folder.path / name))
    assert "10 of 12 images of train: missing or unreadable" in audit.not_checked
    assert [row["slices"] for row in audit.counts] == [12, 0, 0, 12]


def test_lines_that_cannot_be_used(folder, clean):
    with open(clean[0], "a") as stream:
        stream.write("too,few\ntrain/a_0.png,0,a,a_S1\nx.png,7,x,x\n")
    audit = run_audit(splits_of_datasets(clean))
    assert found_kinds(audit) == ["unusable_line"] * 3
    for line, finding in zip((10, 11, 12), audit.findings, strict=True):
        assert finding.message.startswith(f"{clean[0]}, line {line}: ")


def test_constant_odd_and_duplicate_images(folder, clean):
    pictures = {
        "flat.png": Image.new("L", (96, 96), 7),
        "large.png": Image.open(folder.path / "train/b_0.png").resize((120, 110)),
        "twin.bmp": Image.open(folder.path / "train/a_0.png"),
    }
    with open(clean[0], "a") as stream:
        for name, picture in pictures.items():
            stream.write(f"{folder.image(name, picture)},0,a,a_S1\n")
    audit = run_audit(splits_of_datasets(clean))
    assert found_kinds(audit) == ["constant_image", "duplicate_image", "odd_size"]
    text = {finding.kind: finding.message for finding in audit.findings}
    assert "flat.png" in text["constant_image"]
    assert "twin.bmp: same pixels as " in text["duplicate_image"]
    assert "large.png: 120 x 110 instead of 96 x 96 pixels" in text["odd_size"]
    assert audit.sizes["train"] == {(96, 96): 10, (110, 120): 1}


def test_many_sizes_are_one_remark(folder):
    rows = [
        f"{folder.image(f'{n}.png', Image.effect_noise((50 + n, 60), 30))},0,{n},{n}"
        for n in range(5)
    ]
    audit = run_audit(splits_of_datasets([folder.split("train", *rows)]))
    assert [finding.message for finding in audit.findings] == [
        "train: 5 sizes, none usual; models resize them, no error"
    ]


def test_body_box_beyond_its_image(folder):
    for number in range(2):
        folder.image(f"NCP_1_1_000{number}.png")
    path = folder.path / "train.txt"
    boxes = "NCP_1_1_0000.png 2 0 0 96 96\nNCP_1_1_0001.png 2 0 0 96 97\n"
    path.write_text(boxes + "NCP_1_1_0002.png 2 0\n")
    audit = run_audit(splits_of_covidx([("train", path)], folder.path, None))
    line, finding = audit.findings
    assert line.kind == "unusable_line"
    assert line.message.startswith(f"{path}, line 3: found 3 fields, expected 6")
    assert finding.kind == "box_outside"
    assert "NCP_1_1_0001.png: box 0 0 96 97 in an image of 96 x 96 pixels" in finding.message


@pytest.mark.parametrize(
    ("name", "classes", "label", "told"),
    [
        ("NCP_1_1_0000.png", IMAGE_CLASSES, 2, None),
        ("NCP_1_1_0000.png", IMAGE_CLASSES, 0, "COVID-19"),
        ("1_7_8_0001.png", IMAGE_CLASSES, 2, "Common Pneumonia"),
        ("NCP_1_1_0000.png", ("ill", "well"), 1, None),  # its labels are none of these
        ("NCP_1_1_0000.png", ("Control", "COVID-19", "Flu"), 0, "COVID-19"),
        ("case_covid_19_7.png", IMAGE_CLASSES, 1, "COVID-19"),
        ("COVID-19/7.png", IMAGE_CLASSES, 0, "COVID-19"),
        ("0_Non-Covid_12.png", ("Covid", "Non-Covid"), 1, None),
        ("0_Non-Covid_12.png", ("Covid", "Non-Covid"), 0, "Non-Covid"),
        ("covidity_12.png", ("Covid", "Non-Covid"), 1, None),
        ("control_covid-19.png", IMAGE_CLASSES, 1, None),  # says both
    ],
)
def test_label_against_name(name, classes, label, told):
    split = Split("train", "train.csv", classes, [Slice("train", name, name, label=label)])
    messages = [finding.message for finding in label_findings(split)]
    if told is None:
        assert messages == []
    else:
        assert messages == [
            f"{name}: listed as {classes[label]}, named as {told}; correct the list or the name"
        ]


def test_sample_of_names(tmp_path):
    names = ("CP_1_1_0000.png", "NCP_2_2_0000.png", "NCP_2_2_0001.png")
    slices = [Slice("train", name, name) for name in names]
    splits = [
        Split("train", "", IMAGE_CLASSES, slices[:2]),
        Split("test", "", IMAGE_CLASSES, slices[2:]),
    ]
    sample = tmp_path / "sample.txt"
    sample.write_text("1_1_1_0000.png\n2_2_2_0000.png\nNCP_2_2_0001.png\n0_9_9_0000.png\n")
    counts, findings = sample_counts(sample, splits)
    assert counts == {
        "names": 4,
        "classes": {"Common Pneumonia": 1, "COVID-19": 2, "Control": 1},
        "patients": 3,
        "in_splits": {"train": 2, "test": 1},
        "in_none": 1,
    }
    assert [finding.message for finding in findings] == [
        f"{sample}, line 4: 0_9_9_0000.png is in no split list"
    ]


def test_masks(folder):
    """Values 1 GGO, 2 C; one pair is whole."""
    mask = np.zeros((96, 96), np.uint8)
    mask[10:30, 10:30] = 1
    mask[50:70, 50:60] = 2
    odd_values, small = mask.copy(), mask[:90]
    odd_values[0, 0] = 9
    for name, pixels in {"1_1": mask, "1_2": odd_values, "2_1": small, "alone": mask}.items():
        folder.image(f"mask/{name}.png", Image.fromarray(pixels))
    folder.image("mask/2_2.jpg", Image.fromarray(mask))
    for name in ("1_1", "1_2", "2_1", "2_2", "single"):
        folder.image(f"image/{name}.png")
    trees = [("train", folder.path / "image", folder.path / "mask")]
    audit = run_audit(splits_of_folders(trees, MASK_PRESETS["medseg"]))
    kinds = ["size_mismatch", "unpaired_file", "unpaired_file", "unusable_mask", "unusable_mask"]
    assert found_kinds(audit) == kinds
    text = "\n".join(finding.message for finding in audit.findings)
    assert "image/single.png: no mask" in text
    assert "mask/alone.png: no image" in text
    assert "mask/1_2.png: found the unknown value(s) 9" in text
    assert "mask/2_2.jpg: found a JPEG" in text
    assert "image/2_1.png: 96 x 96 pixels, its list or mask says 96 x 90" in text
    ggo, consolidation, every = audit.lesions
    assert (ggo["lesions"], consolidation["lesions"], every["lesions"]) == (1, 1, 2)
    assert every["slices"] == 1  # the one whose mask can be used
    assert every["area_share"][-1] == pytest.approx(400 / (96 * 96))
    assert audit.not_checked[1] == "leaks through what was set aside in train: 2 unpaired"
    assert audit.counts[0]["patients"] == 2


def test_masks_of_one_value(folder):
    """A value called "lesion" gives the one class of merged masks."""
    folder.image("image/a.png")
    folder.image("mask/a.png", Image.fromarray(np.full((96, 96), 5, np.uint8)))
    trees = [("train", folder.path / "image", folder.path / "mask")]
    audit = run_audit(splits_of_folders(trees, MaskValues.parse("5=lesion")))
    assert audit.findings == []
    assert [(row["label"], row["lesions"]) for row in audit.lesions] == [("lesion", 1)]


def test_coco_file(folder):
    """Counts and areas of RLE, polygon and box; an image smaller than its record says."""
    folder.image("a.png")
    folder.image("b.png")
    rle = {"size": [96, 100], "counts": [0, 200, 96 * 100 - 200]}
    square = [[10.0, 10, 30, 10, 30, 30, 10, 30]]
    shapes = [{"segmentation": rle}, {"segmentation": square}]
    annotations = [
        {"id": n, "image_id": 1, "category_id": n, "bbox": [0, 0, 20, 20], "iscrowd": 0, **shape}
        for n, shape in enumerate(shapes, start=1)
    ]
    images = [
        {"id": 1, "file_name": "a.png", "height": 96, "width": 100, "patient": "p"},
        {"id": 2, "file_name": "b.png", "height": 96, "width": 96},
    ]
    categories = [{"id": 1, "name": "GGO"}, {"id": 2, "name": "C"}]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    path = folder.path / "train.json"
    path.write_text(json.dumps(coco))
    audit = run_audit(splits_of_datasets([str(path)]))
    assert found_kinds(audit) == ["size_mismatch"]
    assert [row["lesions"] for row in audit.lesions] == [1, 1, 2]
    assert audit.lesions[0]["area_share"] == pytest.approx([200 / 9600] * 5)
    assert audit.lesions[1]["area_share"] == pytest.approx([400 / 9600] * 5, rel=0.1)
    assert [audit.lesions[2][key] for key in ("lesion_free", "most_in_a_slice")] == [1, 2]
    assert "patients and scans of train: of 2 slices, 1 name no patient and 2 name no scan" in (
        audit.not_checked
    )
    assert audit.position is None and audit.source is None


def test_coco_masks_without_image_or_of_another_size(folder):
    folder.image("a.png")
    rle = {"size": [96, 90], "counts": "0"}
    annotations = [
        {"id": 5, "image_id": 777, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81}
        | {"segmentation": rle},
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81},
    ]
    annotations[1]["segmentation"] = rle
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "height": 96, "width": 96}],
        "annotations": [{"iscrowd": 0, **item} for item in annotations],
        "categories": [{"id": 1, "name": "GGO"}],
    }
    path = folder.path / "lesions.json"
    path.write_text(json.dumps(coco))
    audit = run_audit(splits_of_datasets([str(path)]))
    assert found_kinds(audit) == ["unusable_lesion"] * 2
    messages = sorted(finding.message for finding in audit.findings)
    assert "annotation 0: unknown image_id 777" in messages[0]
    assert messages[1].endswith(
        "annotation 1: a mask of size [96, 90] (height, width), expected [96, 96] as its image "
        "(its id is 2)"
    )


def test_crowds_are_no_lesions(folder):
    path = folder.path / "a.json"
    coco_file(folder, "a", (1, "GGO"))
    coco = json.loads(path.read_text())
    coco["annotations"].append({**coco["annotations"][0], "id": 2, "iscrowd": 1})
    path.write_text(json.dumps(coco))
    audit = run_audit(splits_of_datasets([str(path)]))
    assert [row["lesions"] for row in audit.lesions] == [1]
    coco["annotations"][0]["iscrowd"] = 1
    path.write_text(json.dumps(coco))
    (finding,) = run_audit(splits_of_datasets([str(path)])).findings
    assert "1 of 1 lesion marked as crowds" in finding.message


@pytest.mark.parametrize("labels", [(0, 1), (1, 2)])
def test_binary_labels_get_none_of_the_papers_names(folder, labels):
    path = folder.path / "binary.csv"
    rows = [f"{folder.image(f'{k}.png')},{k},p{k},s{k}" for k in labels]
    path.write_text("\n".join(["file,label,patient,scan", *rows]))
    (split,) = splits_of_datasets([str(path)])
    assert split.classes == ("class 0", "class 1", "class 2")[: labels[-1] + 1]
    assert [x.label for x in split.slices] == list(labels) and split.findings == []


def test_masks_of_any_names(folder):
    mask = np.zeros((96, 96), np.uint8)
    mask[10:30, 10:30], mask[50:70, 50:60] = 1, 2
    folder.image("image/a.png")
    folder.image("mask/a.png", Image.fromarray(mask))
    trees = [("train", folder.path / "image", folder.path / "mask")]
    audit = run_audit(splits_of_folders(trees, MaskValues.parse("1=nodule,2=pleural effusion")))
    assert audit.findings == [] and audit.splits[0].classes == ("nodule", "pleural effusion")
    found = [(row["label"], row["lesions"]) for row in audit.lesions]
    assert found == [("nodule", 1), ("pleural effusion", 1), ("all", 2)]
    assert "pleural effusion" in as_text(audit)


def coco_file(folder, name, *classes, annotated=1):
    """A COCO file of one image with one lesion of a category; classes are (id, name)."""
    coco = {
        "images": [
            {"id": 1, "file_name": folder.image(f"{name}.png"), "height": 96, "width": 96}
            | {"patient": name, "scan": name}
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": annotated, "bbox": [0, 0, 20, 20]}
            | {"iscrowd": 0, "segmentation": [[0, 0, 20, 0, 20, 20, 0, 20]]}
        ],
        "categories": [{"id": k, "name": name} for k, name in classes],
    }
    path = folder.path / f"{name}.json"
    path.write_text(json.dumps(coco))
    return str(path)


@pytest.mark.parametrize(
    ("classes", "listed"),
    [
        (((1, "effusion"), (2, "nodule")), "1 effusion, 2 nodule"),
        (((2, "nodule"), (7, "effusion")), "2 nodule, 7 effusion"),
    ],
)
def test_lesion_classes_with_other_numbers_are_a_note(folder, classes, listed):
    train = coco_file(folder, "train", (1, "nodule"), (2, "effusion"))
    test = coco_file(folder, "test", *classes, annotated=2)
    audit = run_audit(splits_of_datasets([train, test]))
    assert audit.findings == []
    assert audit.notes == [
        f"lesion classes are 1 nodule, 2 effusion in train and {listed} in test: harmless, as they "
        "are matched by name"
    ]
    text = as_text(audit)
    assert "Notes:\n  lesion classes are 1 nodule" in text and "Problems: none" in text
    report = as_json(audit, "audit")
    assert report["notes"] == audit.notes and audit.notes[0] in as_html(audit, report)
    shown = {title: uri for title, uri in lesion_figures(audit.splits)}
    assert list(shown)[::2] == ["number of nodule in a slice", "number of effusion in a slice"]


def test_the_same_lesion_classes_need_no_note(folder):
    files = [coco_file(folder, x, (1, "nodule"), (2, "effusion")) for x in ("train", "val", "test")]
    audit = run_audit(splits_of_datasets(files))
    assert (audit.findings, audit.notes) == ([], [])


def test_other_lesion_classes_are_a_problem(folder):
    files = [
        coco_file(folder, "train", (1, "nodule"), (2, "effusion")),
        coco_file(folder, "val", (1, "nodule"), (2, "effusion")),
        coco_file(folder, "test", (1, "nodul"), (2, "effusion")),
    ]
    audit = run_audit(splits_of_datasets(files))
    (finding,) = audit.findings
    assert (finding.kind, finding.splits) == ("unlike_classes", ("train", "test"))
    assert finding.message.startswith("train has nodule, effusion and test has nodul, effusion: ")
    assert audit.notes == []
    assert "lesion classes that differ between splits: 1" in as_text(audit)


def test_class_that_one_split_lacks(folder):
    train = folder.split(
        "train", f"{folder.image('a.png')},ill,p,s", f"{folder.image('b.png')},well,q,t"
    )
    test = folder.split(
        "test", f"{folder.image('c.png')},Ill,r,u", f"{folder.image('d.png')},well,v,w"
    )
    audit = run_audit(splits_of_datasets([train, test]))
    assert found_kinds(audit) == ["absent_class", "absent_class"]
    messages = {finding.message for finding in audit.findings}
    assert "test: no slice of ill, which train has; is it a typo?" in messages
    assert "train: no slice of Ill, which test has; is it a typo?" in messages


def test_lists_of_the_same_name_in_two_folders(folder):
    for part, who in (("train", "p"), ("test", "p")):
        folder.split(
            f"{part}/list", f"{folder.image(f'{part}/{part}.png')[len(part) + 1 :]},0,{who},s"
        )
    paths = [str(folder.path / part / "list.csv") for part in ("train", "test")]
    audit = run_audit(splits_of_datasets(paths))
    assert [split.name for split in audit.splits] == ["train/list", "test/list"]
    assert found_kinds(audit) == ["shared_patient", "shared_scan"]


def test_a_class_in_two_spellings_in_one_list(folder):
    rows = [f"{folder.image(f'{k}.png')},{label},{k},{k}" for k, label in enumerate(("ill", "Ill"))]
    audit = run_audit(splits_of_datasets([folder.split("list", *rows)]))
    assert found_kinds(audit) == ["spelling"]
    assert audit.findings[0].message == "list: Ill and ill; write a class in one way"


def test_labels_of_which_no_meaning_is_known(folder):
    rows = [f"{folder.image(f'{k}.png')},{k}.0,p{k},s{k}" for k in range(2)]
    with pytest.raises(ValueError, match=r"found the labels 0\.0, 1\.0; what number 0\.0 means"):
        splits_of_datasets([folder.split("list", *rows)])
