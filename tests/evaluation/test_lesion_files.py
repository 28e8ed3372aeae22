import json

import numpy as np
import pytest

from ctmasknet.evaluation.coco_ap import coco_metrics, run_coco
from ctmasknet.evaluation.lesion_files import read_lesions
from ctmasknet.evaluation.lesion_report import LesionReportSettings, report_lesions

LESION = (1, 0, 4, 6, 10, 8)
FOUND = (1, 0, 0.9, 4, 6, 10, 8)


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_images_classes_and_the_order_of_detections(lesion_set):
    lesions = lesion_set(
        [LESION, (3, 1, 0, 0, 5, 5)],
        [(1, 0, 0.5, 1, 1, 2, 2), (1, 1, 0.9, 1, 1, 3, 3), (1, 0, 0.5, 1, 1, 4, 4)],
        images=3,
        classes=("GGO", "C"),
        patients=("a", "b"),
    )
    first, second, third = lesions.images
    assert lesions.class_names == ("GGO", "C")
    assert first.scores.tolist() == [0.9, 0.5, 0.5]
    assert first.found_classes.tolist() == [1, 0, 0]
    # Equal scores keep their order: the one of 2 x 2 pixels came first.
    assert [mask["counts"] for mask in first.found_masks][1:] == [
        lesions.detections[i]["segmentation"]["counts"] for i in (0, 2)
    ]
    assert first.true_classes.tolist() == [0] and first.true_areas.tolist() == [80]
    assert second.true_masks == second.found_masks == [] and second.scores.shape == (0,)
    assert third.true_classes.tolist() == [1]
    assert lesions.patients == ["a", "b", "0003.png"] and lesions.has_patients
    assert (first.height, first.width) == (48, 64)


def test_every_form_of_a_mask_is_the_same_lesion(lesion_set, write_lesions):
    expected = lesion_set([LESION], [FOUND])
    truth, detections = write_lesions([LESION], [FOUND])
    polygon = [[4, 6, 14, 6, 14, 14, 4, 14]]
    column = [4 * 48 + 6, *[8, 40] * 9, 8, 64 * 48 - 13 * 48 - 14]
    for mask in (polygon, {"size": [48, 64], "counts": column}):
        edit(truth, lambda x, mask=mask: x["annotations"][0].update(segmentation=mask))
        edit(detections, lambda x, mask=mask: x[0].update(segmentation=mask))
        found = read_lesions(truth, [detections])
        assert found.fingerprint() == expected.fingerprint()
        assert found.images[0].found_masks == expected.images[0].found_masks


def test_boxes_areas_and_ids_are_made_where_they_lack(write_lesions):
    truth, detections = write_lesions([LESION], [FOUND])

    def strip(content):
        content["annotations"][0] = {
            **{k: content["annotations"][0][k] for k in ("image_id", "category_id", "segmentation")}
        }

    edit(truth, strip)
    edit(detections, lambda x: x[0].pop("bbox"))
    lesions = read_lesions(truth, [detections])
    (annotation,) = lesions.truth.dataset["annotations"]
    assert annotation["id"] == 1 and annotation["area"] == 80 and annotation["iscrowd"] == 0
    assert annotation["bbox"] == lesions.detections[0]["bbox"] == [4, 6, 10, 8]


def test_crowds_are_kept_for_coco_but_are_no_lesions(lesion_set):
    lesions = lesion_set([LESION], crowds=[(1, 0, 20, 20, 5, 5)])
    assert len(lesions.images[0].true_masks) == 1
    assert [x["iscrowd"] for x in lesions.truth.dataset["annotations"]] == [0, 1]


def test_boxes_only(write_lesions):
    truth, detections = write_lesions([LESION], [FOUND, (1, 0, 0.8, 1, 1, 5, 5)])
    assert read_lesions(truth, [detections]).masks
    edit(detections, lambda x: [item.pop("segmentation") for item in x])
    lesions = read_lesions(truth, [detections])
    assert not lesions.masks and lesions.images[0].found_masks == []
    assert lesions.images[0].scores.tolist() == [0.9, 0.8]


def test_whether_masks_are_judged_may_be_known(write_lesions):
    truth, none = write_lesions([LESION])
    assert [read_lesions(truth, [none], masks).masks for masks in (None, True, False)] == [
        *(True, True, False)
    ]
    truth, detections = write_lesions([LESION], [FOUND, FOUND])
    edit(detections, lambda x: x[0].update(segmentation=[[1]]))  # ignored
    edit(detections, lambda x: x[1].pop("bbox"))  # made from the mask
    lesions = read_lesions(truth, [detections], masks=False)
    assert not lesions.masks and lesions.images[0].found_masks == []
    assert [x["bbox"] for x in lesions.detections] == [[4, 6, 10, 8]] * 2
    edit(detections, lambda x: [item.update(bbox=[1, 1, 2, 2]) for item in x])
    edit(detections, lambda x: [item.pop("segmentation") for item in x])
    with pytest.raises(ValueError, match="detection 0: no segmentation, expected one in every"):
        read_lesions(truth, [detections], masks=True)


def test_the_files_of_several_folds_are_taken_together(write_lesions, tmp_path):
    truth, detections = write_lesions([LESION], [FOUND, (2, 0, 0.8, 1, 1, 5, 5)], images=2)
    found = json.loads(detections.read_text())
    folds = [tmp_path / f"fold{i}.json" for i in range(2)]
    for fold, item in zip(folds, found, strict=True):
        fold.write_text(json.dumps([item]))
    lesions = read_lesions(truth, folds)
    assert [image.scores.tolist() for image in lesions.images] == [[0.9], [0.8]]
    with pytest.raises(ValueError, match=r"fold0\.json.*: a file of detections is there twice"):
        read_lesions(truth, [folds[0], folds[0]])
    with pytest.raises(ValueError, match=r"fold0\.json, detection 0: .*ons\.json has detections"):
        read_lesions(truth, [detections, folds[0]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 7}, "unknown image_id 7"),
        ({"image_id": [1]}, r"unknown image_id \[1\]"),
        ({"category_id": 3}, r"unknown category_id 3, expected 1 \(lesion\)"),
        ({"score": None}, "score is None"),
        ({"score": float("nan")}, "score is nan"),
        ({"score": True}, "score is True"),
        ({"score": 10**400}, "score is 1000"),
        ({"bbox": [1, 2, 3]}, "bbox of 3 numbers"),
        ({"bbox": [1, 2, 3, float("inf")]}, "bbox is .*inf"),
        ({"bbox": [1, 2, 3, True]}, "bbox is .*True"),
        ({"bbox": 4}, r"not in COCO's format \(bbox is 4, expected x, y, width, height\)"),
        ({"bbox": None, "segmentation": None}, "neither bbox nor segmentation"),
        ({"segmentation": None}, "with and without segmentation"),
        ({"segmentation": {"size": [64, 48], "counts": "0"}}, r"\[64, 48\] .* expected \[48, 64\]"),
        ({"segmentation": {"size": [48, 64], "counts": [3, 4]}}, "not a usable RLE of 48 x 64"),
        ({"segmentation": {"size": [48, 64], "counts": "S75i0"}}, "not a usable RLE of 48 x 64"),
        ({"segmentation": {"size": [48, 64]}}, r"not in COCO's format \(no 'counts'\)"),
        ({"segmentation": "0"}, r"not in COCO's format \(segmentation is '0', expected polygons"),
        ({"segmentation": "0" * 9999}, r"segmentation is '0{300,400}\.\.\."),
        ({"segmentation": [[1, 1, 2, 2]]}, "no valid polygon"),
    ],
)
def test_bad_detections_are_named(write_lesions, change, message):
    truth, detections = write_lesions([LESION], [FOUND])
    edit(detections, lambda x: x.append({**x[0], **change}))
    with pytest.raises(ValueError, match=rf"detections\.json, detection 1: .*{message}"):
        read_lesions(truth, [detections])


def with_categories(path, *categories, images=()):
    """Turn a list of detections to a COCO file with its own (id, name) of classes."""
    content = {"annotations": json.loads(path.read_text())}
    content["categories"] = [{"id": k, "name": name} for k, name in categories]
    path.write_text(json.dumps({**content, **({"images": images} if images else {})}))


def test_classes_of_detections_are_matched_by_name(write_lesions, random_lesions):
    classes = ("nodule", "pleural effusion")
    truth, detections = write_lesions(*random_lesions(3, 20, classes=2), images=20, classes=classes)
    expected = read_lesions(truth, [detections])
    with_categories(detections, (1, "nodule"), (2, "pleural effusion"))
    same = read_lesions(truth, [detections])
    edit(
        detections, lambda x: [y.update(category_id=7 - y["category_id"]) for y in x["annotations"]]
    )
    edit(
        detections,
        lambda x: x.update(
            categories=[{"id": 5, "name": classes[1]}, {"id": 6, "name": classes[0]}]
        ),
    )
    other = read_lesions(truth, [detections])
    first, *others = [coco_metrics(run_coco(x, "segm"), classes) for x in (expected, same, other)]
    assert [one == pytest.approx(first, nan_ok=True) for one in others] == [True, True]
    assert first["AP_nodule"] > 0 and first["AP_pleural_effusion"] > 0
    assert expected.detections == other.detections


def test_the_truth_may_number_its_classes_otherwise_than_a_model_has_them(write_lesions):
    classes = ("nodule", "effusion")
    found = [(1, 1, 0.9, 4, 6, 10, 8)]  # an effusion
    truth, detections = write_lesions([(1, 1, 4, 6, 10, 8)], found, classes=classes)
    with_categories(detections, (1, "nodule"), (2, "effusion"))

    def swap(content):
        for annotation in content["annotations"]:
            annotation["category_id"] = 1
        content["categories"] = [{"id": 1, "name": "effusion"}, {"id": 2, "name": "nodule"}]

    before = read_lesions(truth, [detections])
    edit(truth, swap)
    after = read_lesions(truth, [detections])
    assert after.class_names == ("effusion", "nodule")
    assert after.images[0].true_classes.tolist() == after.images[0].found_classes.tolist() == [0]
    assert before.fingerprint() == after.fingerprint()
    assert coco_metrics(run_coco(after, "segm"), after.class_names)["AP_effusion"] == pytest.approx(
        100
    )


def test_files_of_detections_may_number_classes_each_in_its_own_way(write_lesions, tmp_path):
    truth, detections = write_lesions(
        [LESION], [FOUND, (2, 1, 0.8, 1, 1, 5, 5)], images=2, classes=("nodule", "effusion")
    )
    found = json.loads(detections.read_text())
    folds = [tmp_path / f"fold{i}.json" for i in range(2)]
    for fold, item in zip(folds, found, strict=True):
        fold.write_text(json.dumps([item]))
    edit(folds[1], lambda x: x[0].update(category_id=1))
    with_categories(folds[1], (1, "effusion"))  # knows one class alone
    lesions = read_lesions(truth, folds)
    assert [image.found_classes.tolist() for image in lesions.images] == [[0], [1]]


def test_other_names_are_refused_with_both_lists(write_lesions):
    truth, detections = write_lesions([LESION], [FOUND], classes=("nodule", "effusion"))
    with_categories(detections, (1, "nodul"), (2, "effusion"))
    with pytest.raises(
        ValueError,
        match=r"detections.json: .* nodul, effusion, but .*truth.json has nodule, effusion: give",
    ):
        read_lesions(truth, [detections])


def test_images_that_are_numbered_otherwise_are_refused(write_lesions):
    truth, detections = write_lesions([LESION], [FOUND], images=2)
    images = [{"id": 1, "file_name": "a/0001.png"}, {"id": 2, "file_name": "a/0002.png"}]
    with_categories(detections, (1, "lesion"), images=images)
    assert read_lesions(truth, [detections]).images[0].scores.tolist() == [0.9]
    edit(detections, lambda x: x["images"][1].update(file_name="b.png"))
    with pytest.raises(ValueError, match=r"image 1: id 2 is b.png, in the ground truth 0002.png"):
        read_lesions(truth, [detections])


def test_a_run_s_list_has_the_classes_of_the_truth_beside_it(write_lesions, tmp_path, no_figures):
    truth, detections = write_lesions([LESION], [FOUND], classes=("nodule", "effusion"))
    run = tmp_path / "run"
    report_lesions(read_lesions(truth, [detections]), run, LesionReportSettings(resamples=0), {})
    swapped = [{"id": 2, "name": "nodule"}, {"id": 1, "name": "effusion"}]
    edit(truth, lambda x: x.update(categories=swapped))
    edit(truth, lambda x: x["annotations"][0].update(category_id=2))
    written = [run / "coco_instances_results.json"]
    assert read_lesions(truth, written, names_beside=True).images[0].found_classes.tolist() == [1]
    assert read_lesions(truth, written).images[0].found_classes.tolist() == [0]  # ids alone
    edit(truth, lambda x: x["categories"][0].update(name="mass"))
    with pytest.raises(ValueError, match="nodule, effusion, but .* has mass, effusion"):
        read_lesions(truth, written, names_beside=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"not JSON \(.*line 1"),
        ("{}", "found a dict, expected a list of COCO detections, or a dictionary with"),
        ('"x"', "found a str, expected a list"),
        ('{"annotations": [], "categories": [{"id": 1}]}', r"category 0: .* \(no 'name'\)"),
        ('{"annotations": [], "categories": [1]}', "category 0: .*found 1, expected an object"),
        ('{"annotations": [], "categories": [], "images": [[]]}', "image 0: .* an object"),
        ("[[]]", r"detection 0: not in COCO's format \(found \[\], expected an object"),
        ('{"annotations": [], "categories": [], "images": 3}', "found a dict, expected a list"),
    ],
)
def test_detections_that_are_no_list(write_lesions, text, message):
    truth, detections = write_lesions()
    detections.write_text(text)
    with pytest.raises(ValueError, match=rf"detections\.json[:,] {message}"):
        read_lesions(truth, [detections])


def test_absolute_names_lose_the_folders_of_the_machine(write_lesions):
    truth, _ = write_lesions(images=2)
    for place in ("", "/data/set/"):
        names = [f"{place}P1/a.png", f"{place}P2/b.png"]
        for number, name in enumerate(names):
            edit(truth, lambda x, i=number, name=name: x["images"][i].update(file_name=name))
        read = read_lesions(truth, [])
        assert [x.file_name for x in read.images] == ["P1/a.png", "P2/b.png"]
        assert read.patients == ["P1/a.png", "P2/b.png"]


def test_missing_files(write_lesions, tmp_path):
    truth, _ = write_lesions()
    with pytest.raises(FileNotFoundError, match=r"no\.json: no such file of detections"):
        read_lesions(truth, [tmp_path / "no.json"])
    with pytest.raises(FileNotFoundError, match=r"no\.json: no such file of ground truth"):
        read_lesions(tmp_path / "no.json", [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.pop("images"), r"truth\.json: not a usable COCO instances file \(no 'images'"),
        (lambda x: x.update(images=[]), r"truth\.json: not a usable COCO instances file"),
        (lambda x: x.update(annotations=None), "annotations is a NoneType, expected a list"),
        (lambda x: x.update(annotations={}), "annotations is a dict, expected a list"),
        (lambda x: x.update(images={"id": 1}), "images is a dict, expected a list"),
        (lambda x: x["images"].append(1), "image 2: not in COCO's format .found 1, expected an"),
        (lambda x: x["images"].append(float("inf")), "image 2: .*found inf, expected an object"),
        (lambda x: x["annotations"].append(None), "annotation .: .*found None, expected an object"),
        (lambda x: x["images"][1].pop("width"), r"image 1: not in COCO's format \(no 'width'\)"),
        (lambda x: x["images"][1].update(width=0), "image 1: height is 48, width 0"),
        (lambda x: x["images"][1].update(height="48"), "image 1: height is '48', width 64"),
        (lambda x: x["images"][1].update(height=10**9), "image 1: height is 1000000000"),
        (lambda x: x["images"][1].update(file_name=None), "image 1: file_name is None"),
        (lambda x: x["images"][1].update(file_name="./0001.png"), "image 1: .*0001.png' is there"),
        (lambda x: x["images"][1].update(id=1), "image 1: id 1 is there twice"),
        (lambda x: x["images"][1].update(id="2"), "image 1: id is '2', expected all integers"),
        (lambda x: x["images"][0].update(id=True), "image 0: id is True, expected all integers"),
        (lambda x: x["categories"][1].update(id=1), "category 1: id 1 is there twice"),
        (lambda x: x["categories"][1].update(id="2"), "category 1: id is '2', expected all"),
        (lambda x: x["categories"][1].update(name=3), "category 1: name is 3, expected a name"),
        (lambda x: x["annotations"][0].update(area=[3]), r"annotation 0: area is \[3\], expected"),
        (lambda x: x["annotations"][0].update(area="abc"), "annotation 0: area is abc, expected"),
        (lambda x: x["annotations"][0].update(area=float("nan")), "annotation 0: area is nan"),
        (lambda x: x["annotations"][0].update(area=-1), "area is -1, expected a number from 0 on"),
        (lambda x: x["annotations"][0].update(iscrowd="no"), "iscrowd is 'no', expected 0 or 1"),
        (lambda x: x["annotations"][0].update(iscrowd=2), "annotation 0: iscrowd is 2, expected"),
        (lambda x: x["annotations"][0].update(segmentation=[[1e9] * 6]), "annotation 0: a polygon"),
        (lambda x: x["categories"][0].update(name="C C"), r"truth\.json: found the classes C C, C"),
        (lambda x: x["annotations"][0].pop("segmentation"), "annotation 0: no segmentation"),
        (lambda x: x["annotations"][0].update(image_id=9), "annotation 0: unknown image_id 9"),
    ],
)
def test_bad_truth_is_named(write_lesions, change, message):
    truth, detections = write_lesions([LESION], images=2, classes=("GGO", "C_C"))
    edit(truth, change)
    with pytest.raises(ValueError, match=message):
        read_lesions(truth, [detections])


def test_the_fingerprint_is_of_the_data_not_of_where_and_how_it_is_written(write_lesions):
    truth, detections = write_lesions([LESION, (2, 0, 1, 1, 5, 5)], images=2, patients=("a", "b"))

    def fingerprint(change=lambda content: None):
        edit(truth, change)
        return read_lesions(truth, [detections]).fingerprint()

    def move(content):
        for image in content["images"]:
            image["id"] = 10 - image["id"]
            image["file_name"] = "elsewhere/" + image["file_name"]
        for annotation in content["annotations"]:
            annotation["image_id"] = 10 - annotation["image_id"]
        content["annotations"].reverse()

    before = fingerprint()
    assert fingerprint(move) == before
    assert len(before) == 64
    assert fingerprint(lambda x: x["images"][0].update(patient="c")) != before
    assert fingerprint(lambda x: x["images"][0].update(patient="a")) == before
    assert fingerprint(lambda x: x["annotations"].pop()) != before


def test_images_are_in_the_order_of_their_names_whatever_their_ids(write_lesions):
    truth, detections = write_lesions([LESION], [FOUND], images=2)

    def swap(content):
        content["images"][0]["id"], content["images"][1]["id"] = 2, 1

    edit(truth, swap)
    lesions = read_lesions(truth, [detections])
    assert [image.image_id for image in lesions.images] == [2, 1]
    assert np.array([len(image.true_masks) for image in lesions.images]).tolist() == [0, 1]


@pytest.mark.parametrize("score", [87.5, -0.1, 1.001, 100])
def test_scores_that_are_no_probabilities_are_refused(write_lesions, score):
    truth, detections = write_lesions([LESION], [(1, 0, score, 4, 6, 10, 8)])
    with pytest.raises(ValueError, match=r"detection 0: score is .*, expected 0 to 1 \(divide"):
        read_lesions(truth, [detections])


def boxes_only(path, change):
    def strip(content):
        for item in content:
            item.pop("segmentation")
            item["bbox"] = change(*item["bbox"])

    edit(path, strip)


def test_boxes_given_as_corners_are_refused_or_told(write_lesions, caplog):
    lesions = [(1, 0, 4, 6, 10, 8), (1, 0, 30, 20, 20, 20)]
    truth, detections = write_lesions(lesions, [(1, 0, 0.9, *x[2:]) for x in lesions])
    boxes_only(detections, lambda x, y, w, h: [x, y, x + w, y + h])
    with pytest.raises(
        ValueError, match=r"detections\.json: all bboxes fit as corners .* 1 of 2 .*: write x, y, w"
    ):
        read_lesions(truth, [detections])
    # Small and near the origin they fit as both, but only corners meet the lesion.
    truth, detections = write_lesions(lesions[:1], [(1, 0, 0.9, 4, 6, 10, 8)])
    boxes_only(detections, lambda x, y, w, h: [x, y, x + w, y + h])
    assert read_lesions(truth, [detections]).detections[0]["bbox"] == [4, 6, 14, 14]
    assert "corners (x0, y0, x1, y1) and then meet the lesions at a mean IoU of 1.00, not 0.41" in (
        caplog.text
    )


def test_boxes_of_coco_are_never_taken_for_corners(write_lesions, caplog):
    lesions = [(1, 0, 4, 6, 40, 30), (1, 0, 10, 10, 50, 38)]
    truth, detections = write_lesions(lesions, [(1, 0, 0.9, *x[2:]) for x in lesions])
    boxes_only(detections, lambda *box: list(box))
    read_lesions(truth, [detections])
    assert caplog.text == ""


def test_ids_from_0_are_no_misses(write_lesions):
    lesions = [LESION, (2, 0, 1, 1, 5, 5)]
    truth, detections = write_lesions(lesions, [FOUND, (2, 0, 0.8, 1, 1, 5, 5)], images=2)
    edit(truth, lambda x: [y.update(id=k) for k, y in enumerate(x["annotations"])])
    made = read_lesions(truth, [detections])
    assert coco_metrics(run_coco(made, "segm"), made.class_names)["AP50"] == pytest.approx(100)


def test_classes_of_other_numbers_are_told(write_lesions, caplog):
    lesions = [(1, 0, 4, 6, 10, 8), (1, 1, 30, 20, 20, 20)]
    for labels, told in (((0, 1), False), ((1, 0), True)):
        found = [(1, label, 0.9, *x[2:]) for label, x in zip(labels, lesions, strict=True)]
        truth, detections = write_lesions(lesions, found, classes=("a", "b"))
        read_lesions(truth, [detections], names_beside=True)
        text = "2 of 2 detections that meet a lesion are of another class"
        assert (text in caplog.text) == told
