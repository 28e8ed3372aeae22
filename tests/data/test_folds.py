import copy

import pytest

from ctmasknet.data.folds import merged_coco, split_folds


def coco(patients=(), images=10):
    """Images 1 to n, GGO in all of them and C in every second."""
    records = [{"id": i, "file_name": f"{i}.png"} for i in range(1, images + 1)]
    for record, patient in zip(records, patients, strict=False):
        record["patient"] = patient
    lesions = [{"id": i, "image_id": i, "category_id": 1} for i in range(1, images + 1)]
    more = range(2, images + 1, 2)
    lesions += [{"id": images + i, "image_id": i, "category_id": 2} for i in more]
    classes = [{"id": 1, "name": "GGO"}, {"id": 2, "name": "C"}]
    return {"images": records, "annotations": lesions, "categories": classes}


def ids(part):
    return {image["id"] for image in part["images"]}


def test_each_image_is_held_out_once_and_classes_are_in_every_fold():
    whole = coco()
    before = copy.deepcopy(whole)
    folds = split_folds(whole, 5, seed=0)
    assert whole == before and len(folds) == 5
    held_out = [ids(test) for _, test in folds]
    assert sorted(i for part in held_out for i in part) == list(range(1, 11))
    for train, test in folds:
        assert ids(train) == ids(whole) - ids(test) and len(ids(test)) == 2
        assert {x["category_id"] for x in test["annotations"]} == {1, 2}
        for part in (train, test):
            assert {x["image_id"] for x in part["annotations"]} == ids(part)


def test_patients_stay_together_and_seeds_differ():
    patients = [f"P{i // 2}" for i in range(10)]
    splits = {}
    for seed in (0, 0, 1, 2, 3):
        folds = split_folds(coco(patients), 2, seed)
        for train, test in folds:
            names = [{x["patient"] for x in part["images"]} for part in (train, test)]
            assert not names[0] & names[1]
        found = tuple(sorted(ids(folds[0][1])))
        assert splits.setdefault(seed, found) == found
    assert len(set(splits.values())) > 1


def test_parts_make_the_whole_again():
    whole = coco()
    merged = merged_coco([test for _, test in split_folds(whole, 3, seed=1)])
    assert merged == {**whole, "annotations": sorted(whole["annotations"], key=lambda x: x["id"])}


@pytest.mark.parametrize(("folds", "reason"), [(1, "1 folds"), (11, "10 patient")])
def test_folds_that_cannot_be(folds, reason):
    with pytest.raises(ValueError, match=reason):
        split_folds(coco(), folds, seed=0)
