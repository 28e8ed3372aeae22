"""`ctmasknet prepare volumes` and `label-maps`: scans to slices, and lesions back to scans."""

import argparse
from pathlib import Path

from ..command_line import add_names, add_skip_bad, new_subparser, open_names, print_skipped
from ..data.channels import CHANNELS
from ..data.classes import MaskValues
from ..data.list_paths import add_data_root
from ..data.nnunet import is_nnunet, read_nnunet
from ..data.window import WINDOWS, Window
from ..errors import ErrorPolicy
from ..lung import FIELDS
from ..pseudonyms import Names
from ..volumes.lesion_slices import LesionSlices
from ..volumes.lesion_volumes import write_lesion_volumes
from ..volumes.mask_files import MaskFiles
from ..volumes.volume_list import VolumeEntry, list_has_masks, read_volume_list
from ..volumes.volume_slices import LESIONS, write_slices

_VOLUMES = """Cut CT volumes into windowed 8-bit slices with a list, or with their lesions.

A volume is a folder or zip of DICOM files or images, or a NIfTI, MetaImage or NRRD file. Name a
list of them (CSV file,label,patient,scan; `file` is relative to the list), or the volumes
themselves with one --label. Writes DIR/slices/{scan}/{z}.png, from the feet to the head, and
DIR/slices.csv. Without a list, patient and scan are those in the DICOM files, or the file's name;
in DIR they are pseudonyms, the same for a patient in every run that shares the file --names.
With --field-of-view lung or body, the slices of a scan are cropped to the box of all its lung or
body and 10 mm more: what is read from them is in pixels of the crop. With --slice-labels, what
radiologists said of single slices stands beside them in the list.

  ctmasknet prepare volumes scans.csv --output slices
  ctmasknet prepare volumes scan1.zip scan2.nii.gz --label COVID-19 --output slices
  ctmasknet prepare volumes healthy.zip --label Control --field-of-view lung --output healthy

With masks, DIR/lesions.json has the lesions as COCO instances: those of a slice that belong to one
lesion of the scan share its lesion_id. Masks are NIfTI, MetaImage, NRRD or DICOM SEG; each belongs
to the scan of its name (CASE.nii.gz, or a folder CASE) or of its series. A list has the column
`mask` in the place of `label`; a folder of nnU-Net's needs no option.

  ctmasknet prepare volumes SCANS --masks MASKS --values "1=GGO,2=C" --output lesions
  ctmasknet prepare volumes scan --masks lesions.seg.dcm --output lesions
  ctmasknet prepare volumes Dataset501_Lesions --output lesions
"""
_LABEL_MAPS = """Write the lesions of scans that `prepare volumes --masks` has cut as label maps.

Each scan gets DIR/{scan}.nii.gz, in the layout of its mask, so that it lies on the scan; values are
those of the masks, or 1 to K, as DIR/dataset.json says in nnU-Net's form. With --predictions, such
as the coco_instances_results.json of `ctmasknet evaluate`, the detections are written.

  ctmasknet prepare label-maps lesions/lesions.json --output masks
  ctmasknet prepare label-maps lesions_test.json --output masks --names ctmasknet-names.csv \\
      --predictions results/inference/lesions_test/coco_instances_results.json
"""


def add_volumes(parts: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(
        parts, "volumes", _VOLUMES, _run_volumes, help="CT volumes to slices and their list"
    )
    parser.add_argument(
        "inputs", type=Path, nargs="+", metavar="INPUT", help="a list.csv, or volumes"
    )
    parser.add_argument("--label", help="class name or number of the volumes named here")
    parser.add_argument(
        "--masks", type=Path, metavar="MASKS", help="lesions of the volumes: a folder, or a file"
    )
    parser.add_argument(
        "--values",
        metavar='"1=GGO,2=C"',
        help="meaning of every value in masks but 0: the name of a lesion class, or background "
        "(default: as dataset.json or the segments of a DICOM SEG say)",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to make")
    add_names(parser, "the list and its folders")
    parser.add_argument(
        "--window",
        default="lung",
        help=f"WIDTH,LEVEL in HU, or one of {', '.join(WINDOWS)} (default: lung, the papers'); "
        "8-bit volumes are taken to have it",
    )
    parser.add_argument(
        "--field-of-view",
        choices=FIELDS,
        default="image",
        help="what of the slices is written; lung leaves slices without lung out, and a scan in "
        "which none is found is an error (default: %(default)s, all)",
    )
    parser.add_argument(
        "--channels",
        choices=CHANNELS,
        default="grey",
        help="of the slices, for models with this INPUT.CHANNELS; windows: mediastinum, --window "
        "and wide, neighbours: the slices below and above (default: %(default)s)",
    )
    parser.add_argument("--series", metavar="UID", help="SeriesInstanceUID to take of several")
    parser.add_argument(
        "--slice-labels",
        type=Path,
        metavar="CSV",
        help="columns to write beside the slices, as infected; its column file has folder/name of "
        "the DICOM files",
    )
    add_skip_bad(parser)
    add_data_root(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace earlier slices in DIR")


def add_label_maps(parts: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(
        parts, "label-maps", _LABEL_MAPS, _run_label_maps, help="lesions back to masks of scans"
    )
    parser.add_argument("data", type=Path, metavar="DATA.json")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--predictions", type=Path, nargs="+", default=(), metavar="FILE", help="detections (.json)"
    )
    parser.add_argument(
        "--min-score",
        type=float,
        default=0.5,
        metavar="T",
        help="detections of at least this score are written (default: %(default)s)",
    )
    parser.add_argument(
        "--names", type=Path, metavar="FILE", help="call scans by their names in this file"
    )
    add_skip_bad(parser)


def _run_volumes(args: argparse.Namespace) -> None:
    entries, lesions = _volume_entries(args)
    if lesions and (args.label is not None or args.slice_labels):
        raise ValueError("--label, --slice-labels: are for lists, which masks take the place of")
    names = open_names(args)
    table = write_slices(
        entries,
        args.output,
        window=Window.parse(args.window),
        series=args.series,
        field_of_view=args.field_of_view,
        slice_labels=args.slice_labels,
        channels=args.channels,
        lesions=lesions,
        errors=args.errors,
        overwrite=args.overwrite,
        names=names,
    )
    print(table)
    if lesions:
        print(f"{args.output / LESIONS}: the lesions, for training and evaluation")
    else:
        print(f"{args.output / 'slices.csv'}: the list of the slices")
    if names:
        print(f"{names.path}: whose the pseudonyms are; keep it to yourself")
    print_skipped(args.errors)


def _volume_entries(args: argparse.Namespace) -> tuple[list[VolumeEntry], LesionSlices | None]:
    """Return the volumes to cut, and what gathers their lesions if they have masks."""
    values = MaskValues.parse(args.values) if args.values else None
    first: Path = args.inputs[0]
    if args.masks:
        entries = _scans(args.inputs, args.errors)
        masks = MaskFiles(args.masks, [entry.path for entry in entries], args.errors)
        return entries, LesionSlices(masks, values)
    if is_nnunet(first) and len(args.inputs) == 1:
        cases, values = read_nnunet(first, values, args.errors)
        entries = [VolumeEntry(x.image, "", x.name, x.name, mask=x.labels) for x in cases]
        return entries, LesionSlices(None, values)
    lists = [path for path in args.inputs if path.suffix.lower() == ".csv"]
    if lists and (len(args.inputs) > 1 or args.label is not None):
        raise ValueError(f"{lists[0]}: expected this list alone, without --label: it has labels")
    if lists and list_has_masks(first):
        return read_volume_list(first, args.errors, masks=True), LesionSlices(None, values)
    if values:
        raise ValueError("--values: no masks; name them by --masks, or in the list's column mask")
    if lists:
        return read_volume_list(first, args.errors), None
    if not args.label:
        raise ValueError(
            "no --label: name the class of these volumes, or their --masks, or give a list (CSV)"
        )
    return [VolumeEntry(path, args.label) for path in args.inputs], None


def _scans(paths: list[Path], errors: ErrorPolicy) -> list[VolumeEntry]:
    """Return each scan in files and folders, of which one may hold many."""
    from ..inference.inputs import find_inputs  # loads PyTorch, which other preparations do without

    found, problems, left_out = find_inputs(paths, as_scan=True)
    for problem in problems:
        errors.handle(problem)
    for text in left_out:
        errors.note(text)
    return [VolumeEntry(item.path, files=item.files) for item in found]


def _run_label_maps(args: argparse.Namespace) -> None:
    names = Names.existing(args.names) if args.names else None
    written = write_lesion_volumes(
        args.data, args.output, args.predictions, args.min_score, names, args.errors
    )
    print(written)
    print_skipped(args.errors)
