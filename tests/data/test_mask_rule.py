"""Rules of lesion classes: what they mean, and what cannot be one."""

import pytest

from ctmasknet.data.mask_rule import PAPERS_RULES, MaskRule, check_lesion_names

FOUND = ("GGO", "C", "pleural effusion")


@pytest.mark.parametrize(
    ("text", "made_of"),
    [
        ("", {name: (name,) for name in FOUND}),
        ("C,GGO", {"C": ("C",), "GGO": ("GGO",)}),
        (" opacity = GGO + C , pleural effusion", {"opacity": ("GGO", "C"), FOUND[2]: FOUND[2:]}),
        ("ill=*", {"ill": FOUND}),
        ("both", {"GGO": ("GGO",), "C": ("C",)}),
        ("ggo", {"GGO": ("GGO",)}),
    ],
)
def test_what_rules_make_of_a_data_set(text, made_of):
    found = MaskRule.parse(text).apply(FOUND)
    assert list(found.items()) == list(made_of.items())  # the order is that of class indices


def test_merge_is_of_the_papers_classes_alone():
    assert MaskRule.parse("merge").apply(("GGO", "C")) == {"lesion": ("GGO", "C")}
    for found in (FOUND, ("nodule", "cavity", "scar")):
        with pytest.raises(ValueError, match=rf"'merge' is .*{found[2]}; .*NUM_CLASSES 3 to keep"):
            MaskRule.parse("merge").apply(found)


@pytest.mark.parametrize("text", ["GGO,C", "GGO", "opacity=GGO+C,scar"])
def test_lesions_of_either_kind_are_not_left_out_beside_the_two(text):
    found = ("GGO", "C", "lesion", "scar")
    with pytest.raises(ValueError, match="leaves out 'lesion' .* as in 'lesion=GGO[+]C[+]lesion'"):
        MaskRule.parse(text).apply(found)
    assert MaskRule.parse("lesion=GGO+C+lesion").apply(found) == {"lesion": found[:3]}


def test_the_papers_names_are_names_of_rules():
    assert {name: MaskRule.parse(name).classes for name in PAPERS_RULES} == {
        "both": ("GGO", "C"),
        "merge": ("lesion",),
        "ggo": ("GGO",),
    }
    assert MaskRule.parse("").classes == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,", "lesion class ''"),
        ("=a", "lesion class ''"),
        ("a=", "lesion class ''"),
        ("a=b+", "lesion class ''"),
        ("a,a", "lesion class 'a': found more than once"),
        ("x=a+b,y=b", "lesion class 'b': found more than once"),
        ("a=b=c", "'b=c'"),
        ("a,rest=*", r"lesion class '\*'"),
        ("*", r"lesion class '\*'"),
        ("background,a", "'background': the name of what is no lesion"),
    ],
)
def test_no_rules(text, message):
    with pytest.raises(ValueError, match=f"mask type .*{message}.*or one of both, merge, ggo"):
        MaskRule.parse(text)


def test_a_class_that_is_not_there_is_named_with_the_nearest():
    with pytest.raises(ValueError, match="'ggo=Ggo,C' asks for the class 'Ggo', .*nearest is 'GGO"):
        MaskRule.parse("ggo=Ggo,C").apply(FOUND)
    with pytest.raises(ValueError, match="found GGO, C, pleural .* nearest is 'pleural effusion'"):
        MaskRule.parse("GGO,effusion").apply(FOUND)


@pytest.mark.parametrize(
    "name", ["", " a", "a,b", "a=b", "a+b", "a*", "a\\b", "a\nb", "a" * 65, "background", 3]
)
def test_names_that_cannot_be_written_everywhere(name):
    with pytest.raises(ValueError, match="lesion class "):
        check_lesion_names(["scar", name])


def test_names_that_can():
    check_lesion_names(["pleural effusion", "Milchglas-Trübung (GGO)", "a" * 64])
    with pytest.raises(ValueError, match="found no lesion class"):
        check_lesion_names([])


def test_a_lesion_class_in_two_spellings_is_refused():
    with pytest.raises(ValueError, match="lesion classes Nodule and nodule, which may be one"):
        check_lesion_names(["Nodule", "GGO", "nodule"])
