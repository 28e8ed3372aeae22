"""`ctmasknet prepare masks`, `lesion-free` and `dataset`: COCO files of lesions, or of none."""

import argparse
from pathlib import Path

from ..command_line import add_skip_bad, new_subparser, options_of, print_skipped
from ..data.builtin import LESION_TREES
from ..data.classes import MASK_PRESETS, MIN_LESION_AREA
from ..data.lesion_free import prepare_lesion_free
from ..data.list_paths import add_data_root
from ..data.prepare import prepare_lesion_dataset, prepare_lesion_masks
from ..data.window import say_windowed_once

_MASKS = """Turn folders of CT slices and value masks into COCO JSON for training a lesion model.

IMAGES and MASKS are matched by relative path without extension: image/12/55.jpg belongs to
mask/12/55.png. Image paths in OUT are relative to OUT's folder, so move them together; where IMAGES
lies elsewhere, commands that read OUT need --data-root IMAGES.

  ctmasknet prepare masks IMAGES MASKS lesions.json --preset medseg --val-fraction 0.2
  ctmasknet prepare masks IMAGES MASKS lesions.json --values "1=nodule,2=cavity"
"""
_LESION_FREE = """Turn slices without lesions into COCO JSON that joins one of lesions in training.

SLICES is a folder of images, in folders by patient if these are known, or a CSV with the column
`file` and perhaps `patient` and `scan`, such as `ctmasknet prepare volumes` writes. You vouch that
they show no lesion; OUT.json has the classes of --like.

  ctmasknet prepare lesion-free healthy/slices.csv healthy.json --like lesions.json
  ctmasknet prepare lesion-free slices.csv healthy.json --like lesions.json --where infected=0
  ctmasknet train CONFIG --train lesions.json --train healthy.json \\
      DATALOADER.FILTER_EMPTY_ANNOTATIONS False DATALOADER.LESION_FREE_SHARE 0.25
"""
_DATASET = """Make a downloaded lesion data set ready for training under its registered names.

  ctmasknet prepare dataset cncb      cncb_lesion_train, _val, _test
  ctmasknet prepare dataset medseg    medseg_lesion_train, _val, _test

Reads slices and masks under $DETECTRON2_DATASETS (default: datasets), and writes
lesion_{train,val,test}.json beside them:

  cncb_lesion/     image/{patient}/{slice}.jpg, mask/{patient}/{slice}.png; or {patient}_{slice}
  medseg_lesion/   images/{slice}.png, masks/{slice}.png

GGO and consolidation stay apart, and lesions of all sizes stay in: a model's config says what
becomes of them (INPUT.MASK_TYPE, MIN_LESION_AREA).
"""


def add_masks(parts: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(
        parts, "masks", _MASKS, _run_masks, help="folders of slices and masks to a COCO file"
    )
    parser.add_argument("images", type=Path, help="folder of 8-bit grey or RGB slices")
    parser.add_argument("masks", type=Path, help="folder of 8-bit masks (values = classes)")
    parser.add_argument("output", type=Path, metavar="OUT.json")
    meaning = parser.add_mutually_exclusive_group()
    meaning.add_argument(
        "--preset",
        choices=MASK_PRESETS,
        default="cncb",
        help="cncb: 1 lung (background), 2 GGO, 3 C; medseg: 1 GGO, 2 C, 3 pleural effusion "
        "(background) (default: cncb)",
    )
    meaning.add_argument(
        "--values",
        metavar='"1=nodule,2=cavity"',
        help="meaning of every non-zero value: the name of a lesion class, or background",
    )
    parser.add_argument(
        "--mask-type",
        metavar="RULE",
        help="which classes are kept: both (GGO and C), merge (all in one), ggo (C is background), "
        "or a rule such as nodule,cavity or opacity=GGO+C,effusion; '' keeps all (default: merge, "
        "or '' where --values has classes other than GGO and C)",
    )
    parser.add_argument(
        "--min-area",
        type=int,
        default=MIN_LESION_AREA,
        metavar="PX",
        help="components of at most PX pixels are background (default: %(default)s)",
    )
    parser.add_argument(
        "--val-fraction",
        type=float,
        metavar="F",
        help="also split: write OUT_train.json and OUT_val.json instead of OUT.json, F of the "
        "patients in the latter (first folder of the relative path, or with cncb flat names "
        "{patient}_{slice}; of the slices where patients are unknown)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the split (default: %(default)s)")
    add_skip_bad(parser)


def add_lesion_free(parts: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(
        parts, "lesion-free", _LESION_FREE, _run_lesion_free, help="healthy slices to a COCO file"
    )
    parser.add_argument("slices", type=Path, metavar="SLICES", help="a folder, or a list (.csv)")
    parser.add_argument("output", type=Path, metavar="OUT.json")
    parser.add_argument(
        "--like", type=Path, required=True, metavar="LESIONS.json", help="the lesions it will join"
    )
    parser.add_argument(
        "--where",
        type=_parse_condition,
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="take only these lines of the list; again for further conditions",
    )
    add_skip_bad(parser)
    add_data_root(parser)


def add_dataset(parts: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(
        parts, "dataset", _DATASET, _run_dataset, help="CNCB's or MedSeg's masks to COCO files"
    )
    parser.add_argument("dataset", choices=LESION_TREES)
    parser.add_argument(
        "--root", type=Path, help="folder of the data set, if not $DETECTRON2_DATASETS/<name>"
    )
    parser.add_argument(
        "--split",
        type=float,
        nargs=3,
        default=(0.7, 0.1, 0.2),
        metavar=("TRAIN", "VAL", "TEST"),
        help="shares of the patients (of the slices where patients are unknown); default: "
        "0.7 0.1 0.2",
    )
    parser.add_argument(
        "--lists",
        nargs=2,
        metavar=("TRAIN.txt", "TEST.txt"),
        help="split by published lists of file names instead",
    )
    parser.add_argument(
        "--val-fraction",
        type=float,
        default=0.0,
        metavar="F",
        help="with --lists: share of the training patients kept for validation (default: none)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the split (default: %(default)s)")
    parser.add_argument(
        "--by-rank",
        action="store_true",
        help="cncb: read mask values by their rank in the slice, as the author's code does, into "
        "cncb_lesion_by_rank_*; for comparison only, it calls lesions wrongly",
    )
    add_skip_bad(parser)


def _run_masks(args: argparse.Namespace) -> None:
    say_windowed_once()
    print(prepare_lesion_masks(**options_of(args)))
    print_skipped(args.errors)


def _parse_condition(text: str) -> tuple[str, str]:
    column, equals, value = text.partition("=")
    if not (column and equals):
        raise argparse.ArgumentTypeError(f"'{text}': expected COLUMN=VALUE, as infected=0")
    return column, value


def _run_lesion_free(args: argparse.Namespace) -> None:
    print(prepare_lesion_free(**options_of(args)))
    print_skipped(args.errors)


def _run_dataset(args: argparse.Namespace) -> None:
    say_windowed_once()
    print(prepare_lesion_dataset(**options_of(args)))
    print_skipped(args.errors)
