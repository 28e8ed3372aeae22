"""What users' files hold, what becomes of it, and the test that pins each row.

`make docs` (`python tests/inputs_table.py`) writes docs/inputs.md from it.
"""

import re
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[1] / "docs" / "inputs.md"
_HEAD = """# Inputs

What is read, what is left out and listed, and what is refused with its reason. A scan is one
acquisition of one patient. Where a command goes on without a part, it lists the part at the end.

Made by `make docs` from the tests' own table, in which each row names its test.
"""
# found, -> what happens, = the test that pins it, in tests/
_TABLE = """

## Which DICOM files are a scan
files of one study, frame of reference, patient and SeriesInstanceUID
  -> read as one scan, in the order of their positions
  = volumes/test_dicom_series.py::test_upright_and_from_feet_to_head_whatever_the_files_say
the same SeriesInstanceUID with another patient, study or frame of reference
  -> scans of their own
  = volumes/test_dicom_acquisitions.py::test_patients_who_share_a_series_uid
several acquisitions or reconstructions in one series, at the same or overlapping positions
  -> scans of their own, each predicted, with a note. They are told apart by their order in time,
     InstanceNumber, AcquisitionNumber and the like, where these agree with the positions
  = volumes/test_dicom_acquisitions.py::test_passes_in_one_series_are_scans_of_their_own
the same with another kernel, filter, content time, patient's name, description or series number
  -> scans of their own
  = volumes/test_dicom_acquisitions.py::test_passes_that_another_tag_tells_apart
acquisitions numbered through slice by slice
  -> scans of their own
  = volumes/test_dicom_acquisitions.py::test_passes_numbered_through_slice_by_slice
two anonymised patients with all identifiers the same, in folders of their own
  -> scans of their own
  = volumes/test_dicom_acquisitions.py::test_patients_of_whom_only_the_folder_is_another
AcquisitionNumber that changes from slice to slice of one acquisition
  -> read as one scan
  = volumes/test_dicom_acquisitions.py::test_one_acquisition_stays_whole_whatever_its_numbers
axial and coronal slices, or two sizes, in one series
  -> scans of their own, if each has three slices; what is not axial is refused
  = volumes/test_dicom_acquisitions.py::test_axial_and_other_slices_of_one_series_are_parted
three slices or more, each with a SeriesInstanceUID of its own, else alike
  -> read as one scan, with a note; two acquisitions as two
  = volumes/test_dicom_acquisitions.py::test_slices_of_which_each_has_a_series_of_its_own
slices that each have a study or a frame of reference of their own, with even steps
  -> read as one scan, with a note, but without a DICOM segmentation, which is of one study and
     one frame
  = volumes/test_dicom_acquisitions.py::test_slices_with_even_steps_are_one_scan
several slices at one position that nothing tells apart
  -> refused: positions were lost, or scans are mixed. A single one (up to 5 %) is left out and
     listed
  = volumes/test_dicom_acquisitions.py::test_positions_that_were_lost_are_refused
slices of several scans between each other that nothing tells apart
  -> refused
  = volumes/test_dicom_acquisitions.py::test_scans_that_nothing_tells_apart_are_refused
copies of files
  -> left out and listed
  = volumes/test_dicom_acquisitions.py::test_copies_of_files_are_noted_and_left_out
a command that takes one scan (`prepare volumes`, a zip), and a folder with several
  -> refused, all are listed; with `--skip-bad`, and for a zip, the largest is taken
  = volumes/test_dicom_bad_series.py::test_two_series
missing slices
  -> noted: places and volumes are then rough. The library refuses them unless errors are
     collected
  = volumes/test_dicom_bad_series.py::test_missing_slices
a gantry tilt
  -> noted; slices are taken to lie straight above each other. The library refuses it unless
     errors are collected
  = volumes/test_dicom_bad_series.py::test_gantry_tilt

an acquisition of one or two slices where another one lies
  -> one slice is left out and listed, two are refused: put them into a folder of their own
  = volumes/test_dicom_acquisitions.py::test_a_second_pass_of_fewer_than_three_slices_is_no_scan
positions rounded to one decimal of a millimetre
  -> read; their steps count as even
  = volumes/test_dicom_bad_series.py::test_positions_that_are_rounded_to_a_decimal_are_even

## What DICOM files hold
scouts, reports, segmentations, other modalities
  -> left out and listed
  = inference/test_inputs.py::test_scouts_and_reports_are_left_out_without_a_problem
the same, and secondary captures, beside a scan in a zip or in `prepare volumes`
  -> left out and noted
  = volumes/test_dicom_bad_series.py::test_what_lies_beside_a_scan_is_left_out_and_noted
pictures on a medium with a DICOMDIR (previews, a viewer's logo)
  -> left out and listed
  = inference/test_inputs.py::test_pictures_on_a_medium_with_a_dicomdir_are_no_slices
PhotometricInterpretation MONOCHROME1, whose values programs invert or not
  -> refused
  = volumes/test_dicom_bad_series.py::test_a_bad_file_among_good_ones
values that are no HU, as by wrong rescale tags
  -> refused
  = volumes/test_dicom_bad_series.py::test_values_that_are_no_hu
secondary captures with modality CT (dose pages, exam summaries), other SOP classes than CT
without position, spacing or HU; indexes (DICOMDIR, DIRFILE)
  -> left out; captures are listed
  = volumes/test_dicom_unusual.py::test_secondary_captures_of_modality_ct_are_left_out
a secondary capture with position, spacing and HU, as converters write it
  -> read as a slice
  = volumes/test_dicom_unusual.py::test_a_secondary_capture_with_everything_of_a_slice_is_one
files without preamble or file meta, with or without suffix
  -> read
  = volumes/test_dicom_unusual.py::test_files_without_preamble
a decimal comma in a number
  -> read
  = volumes/test_dicom_unusual.py::test_decimal_commas
a decimal comma in RescaleSlope or RescaleIntercept
  -> refused
  = volumes/test_dicom_unusual.py::test_a_decimal_comma_in_a_rescale_tag_is_refused
enhanced CT with one frame a file
  -> read: rescale, spacing and position from the functional groups
  = volumes/test_dicom_unusual.py::test_enhanced_ct_of_one_frame_a_file
enhanced CT, slices with a series of their own, files that lack preamble: their segmentation
  -> written; it refers to each slice by its own series and SOP class
  = quantification/test_dicom_seg.py::test_it_refers_to_enhanced_ct_as_such
several frames in one file; no rescale tags; a colour image
  -> refused, each with its reason: convert to classic CT or NIfTI, use the original series
  = volumes/test_dicom_bad_series.py::test_a_bad_file_among_good_ones
JPEG 2000, JPEG-LS
  -> read, every HU as it was
  = volumes/test_dicom_codings.py::test_lossless_codings
HTJ2K
  -> read, every HU as it was
  = volumes/test_dicom_codings.py::test_htj2k
RLE
  -> read, every HU as it was
  = volumes/test_dicom_codings.py::test_run_lengths
compressed pixels without the mark at their end, or with zeros for it, as archives write them
  -> read if they are in one item, which is whole; else refused as cut
  = volumes/test_dicom_codings.py::test_the_mark_behind_compressed_pixels_may_lack
deflated files
  -> read
  = volumes/test_dicom_codings.py::test_deflated
JPEG Lossless
  -> read
  = volumes/test_dicom_series.py::test_jpeg_lossless_series
12 bits with a sign
  -> read
  = volumes/test_dicom_codings.py::test_12_bits_with_a_sign
names in Japanese, Korean and Chinese character sets (ISO 2022, GB18030, UTF-8)
  -> read; the DICOM segmentation keeps them, in UTF-8 if needed
  = quantification/test_dicom_seg.py::test_patients_keep_their_names_in_any_character_set
texts in another character set than the file says
  -> read, with a note: names may be wrong
  = test_library_warnings.py::test_texts_in_another_character_set_are_noted
dates and identifiers that DICOM does not allow
  -> read without a word
  = test_library_warnings.py::test_values_that_do_not_matter_are_not_told

## Volume files
axes up to 0.5 degrees off right angles (an affine rounded to three decimals)
  -> read, made orthonormal: the first axis keeps its direction, the second its plane
  = volumes/test_shear.py::test_axes_within_half_a_degree_are_made_straight
axes further off right angles in NIfTI, NRRD or MetaImage
  -> treated as a gantry tilt, which they are
  = volumes/test_shear.py::test_a_sheared_volume_is_treated_as_a_tilted_series
sform and qform that differ in NIfTI
  -> the sform counts
  = volumes/test_shear.py::test_the_sform_counts_where_the_qform_differs
a label map (2 to 32 different whole values from 0 to 255) beside a scan
  -> left out and listed
  = volumes/test_volume_files.py::test_masks_beside_a_scan_are_left_out_and_listed
a label map of more labels, as of all organs, told by its patches of equal voxels
  -> left out and listed, or refused, alike
  = volumes/test_volume_files.py::test_label_maps_of_all_organs_are_told_by_their_patches
a label map that is named itself
  -> refused
  = inference/test_inputs.py::test_label_maps_beside_scans_are_left_out
suffixes in capitals
  -> read
  = volumes/test_names.py::test_suffixes_in_capitals
plain NIfTI named .nii.gz, compressed NIfTI named .nii
  -> read: the first bytes tell
  = volumes/test_names.py::test_nifti_is_known_by_its_bytes_whatever_its_name
bytes behind a whole gzip, as text programs add
  -> left out
  = volumes/test_names.py::test_bytes_behind_a_gzip_are_left_out
Git LFS pointers, HTML pages, empty files, whatever their names
  -> refused, and named as such
  = volumes/test_names.py::test_git_lfs_pointers_are_named
values that are no HU (0 to 1, HU + 1024)
  -> refused
  = volumes/test_volume_values.py::test_values_that_are_no_hu
voxels in another unit than millimetres (sides below 0.01 or above 100)
  -> refused
  = volumes/test_volume_values.py::test_voxels_in_another_unit_than_mm
a slope of 0 or NaN in the header of NIfTI
  -> read as stored
  = volumes/test_volume_values.py::test_slopes_of_nifti_that_scale_nothing
archives other than zip, .hdr and .img, .npy and other formats in a folder
  -> left out and listed
  = inference/test_inputs.py::test_what_may_be_a_scan_but_is_not_read_is_listed

pixels that .mhd or .nhdr name elsewhere than in their own folder, or as a link, pipe or device
  -> refused
  = volumes/test_headers.py::test_pixels_lie_beside_their_header
pixels in several files (LIST, a%03d.raw), or as text (BinaryData = False, ascii, hex)
  -> refused, with the line of SimpleITK that converts the file
  = volumes/test_headers.py::test_the_advice_for_pixels_as_text_in_metaimage_helps
bzip2 and unknown encodings in NRRD
  -> refused: save it as raw or gzip
  = volumes/test_headers.py::test_other_encodings_of_nrrd_are_named
headers of MetaImage and NRRD with lines that their formats do not know, twice the same, or far
too long; other types than one number for each voxel
  -> refused before ITK, which may end the process at them
  = volumes/test_headers.py::test_headers_at_which_itk_would_end_the_process

## Zips and folders
zips compressed by Deflate64
  -> refused, named as such
  = volumes/test_names.py::test_deflate64_is_named
what macOS adds to a zip (__MACOSX, ._files, .DS_Store)
  -> left out
  = volumes/test_volume_zips.py::test_what_macos_adds_to_a_zip_is_left_out
names in a zip with backslashes or in a code page (437, 866, 932)
  -> read
  = volumes/test_volume_zips.py::test_names_as_windows_writes_them
a scan and its mask in a zip
  -> the mask is left out and noted
  = volumes/test_volume_zips.py::test_a_mask_in_a_zip_is_left_out_and_noted
a zip within a zip
  -> refused: unpack the outer one
  = volumes/test_volume_zips.py::test_a_zip_within_a_zip_or_a_folder_is_named
links to folders (prediction, preparation, audit)
  -> followed, each folder once; links to a folder above are left out
  = data/test_walk.py::test_links_to_folders_are_followed

## Sizes and ends
fewer pixels in a file than its header says: DICOM, NIfTI, MetaImage, NRRD
  -> refused
  = volumes/test_short_files.py::test_volumes
sizes in headers that no CT has, files that unpack to far more than they are, lists of gigabytes
  -> refused with both numbers; `--limits 4` makes all limits four times as large
     ([reliability.md](reliability.md))
  = test_limits.py::test_what_is_too_large_is_refused_at_once

## Images
an alpha channel that is opaque everywhere
  -> read without it; a translucent one is refused
  = volumes/test_names.py::test_an_opaque_alpha_channel_is_read_a_translucent_one_refused
label maps beside slices, or in a folder of their own (JPEG is not looked at)
  -> left out and listed
  = inference/test_inputs.py::test_mask_images_are_left_out

a folder that `prepare volumes` has written, in `prepare lesion-free`
  -> refused: patients and scans stand in its slices.csv, which is to be named
  = data/test_lesion_free.py::test_a_folder_with_a_list_of_its_patients_is_refused

## COCO files of lesions: training, validation, test, evaluation, audit
no bbox, area, iscrowd or id
  -> made from the mask, and said
  = data/test_coco_lesions.py::test_what_lacks_is_made_from_the_mask_and_said_once
null for one of them
  -> as if it lacked
  = data/test_coco_lesions.py::test_null_stands_for_what_lacks
a lesion twice (same image, class and mask)
  -> taken once, and said
  = data/test_coco_lesions.py::test_a_lesion_that_is_there_twice_is_taken_once
ids of annotations from 0, twice or as texts
  -> numbered anew, and said
  = data/test_coco_lesions.py::test_ids_that_pycocotools_takes_wrongly_are_numbered_anew
a bbox that is not its mask's, such as corners
  -> made from the mask, and said
  = data/test_coco_lesions.py::test_boxes_that_are_not_the_masks_are_made_anew
a byte-order mark
  -> read, and said
  = data/test_coco_lesions.py::test_a_byte_order_mark_is_read
several images of one id (files put together)
  -> refused
  = data/test_coco_lesions.py::test_images_whose_ids_collide_are_refused
ids of images as numbers here and texts there
  -> refused
  = data/test_coco_lesions.py::test_ids_of_another_type_are_refused
crowds (iscrowd 1)
  -> said; no lesions in training, evaluation and audit. Refused in training if all are
  = data/test_coco_lesions.py::test_crowds_are_said
RLEs that are cut, too long or of another size; empty or impossible polygons; no mask
  -> refused, each with its place; the audit lists them
  = data/test_coco_lesions.py::test_masks_that_cannot_be_used_are_refused_or_set_aside
scores beyond 0 to 1
  -> refused: divide percentages by 100
  = evaluation/test_lesion_files.py::test_scores_that_are_no_probabilities_are_refused
boxes of detections given as corners
  -> refused or told
  = evaluation/test_lesion_files.py::test_boxes_given_as_corners_are_refused_or_told
classes numbered otherwise in another file
  -> matched by name; other names are refused with both lists
  = evaluation/test_lesion_files.py::test_classes_of_detections_are_matched_by_name

a list of detections whose classes seem to have other numbers than the truth's
  -> told
  = evaluation/test_lesion_files.py::test_classes_of_other_numbers_are_told
a class in two spellings (Nodule, nodule)
  -> refused
  = data/test_mask_rule.py::test_a_lesion_class_in_two_spellings_is_refused

## Masks of scans: `prepare volumes --masks`, lists with masks, nnU-Net's folders
masks stored along other axes, or with another first corner, than the scan
  -> read, and written back as they were
  = volumes/test_prepare_masks.py::test_there_and_back_again
a mask of another size, spacing or place
  -> refused with both geometries: resample it
  = volumes/test_prepare_masks.py::test_what_does_not_fit_is_refused
values that are not named, no whole numbers, probabilities, the scan itself
  -> refused
  = volumes/test_prepare_masks.py::test_what_does_not_fit_is_refused
a scan without a mask
  -> refused
  = volumes/test_prepare_masks.py::test_what_does_not_fit_is_refused
a mask of none of the scans
  -> left out and noted
  = volumes/test_prepare_masks.py::test_what_does_not_fit_is_refused
DICOM SEG of a series stored in any direction
  -> read, frames by their places; matched by the series it refers to
  = volumes/test_prepare_masks.py::test_dicom_segmentations
DICOM SEG with a segment for each lesion
  -> lesions of the class that segments are described by
  = volumes/test_prepare_masks.py::test_segments_of_single_lesions_have_their_class
DICOM SEG whose segments of several classes overlap, or that is fractional
  -> refused
  = volumes/test_prepare_masks.py::test_segmentations_that_do_not_fit
labels of nnU-Net in the form of version 1 or 2
  -> read
  = volumes/test_prepare_masks.py::test_nnunet_there_and_back
region-based labels of nnU-Net, an ignore label, several channels, images or labels alone
  -> refused
  = volumes/test_prepare_masks.py::test_what_of_nnunet_is_refused
slices with other channels than INPUT.CHANNELS
  -> refused in training, evaluation and prediction
  = data/test_channels.py::test_a_slice_with_other_channels_is_refused
single grey slices, and 8-bit scans, where a model reads windows or neighbours that they lack
  -> refused
  = engine/test_channels.py::test_what_cannot_have_the_channels_is_refused

## Lists in CSV
lists as Excel saves them in UTF-8 (byte-order mark, Windows line ends)
  -> read
  = data/test_image_lists.py::test_lists_as_excel_saves_them
semicolons between columns, other encodings than UTF-8
  -> refused
  = data/test_image_lists.py::test_semicolons_are_refused
empty lines, also with commas
  -> left out
  = data/test_image_lists.py::test_empty_lines_as_excel_writes_them_are_no_slices
names of files with the backslashes of Windows
  -> refused, and named as such
  = data/test_image_lists.py::test_backslashes_of_windows_are_named
a patient whose number is written in two ways (7, 007, 7.0)
  -> a leak between splits in the audit; `prepare split` refuses it
  = audit/test_leaks.py::test_a_patient_whose_number_is_written_otherwise
a class in two spellings (COVID, covid; COVID-19, COVID 19)
  -> refused; the audit tells
  = data/test_image_lists.py::test_a_class_in_two_spellings_is_refused
labels that are names
  -> read; in the order of a checkpoint or of DATASETS.IMAGE_CLASSES, else sorted
  = data/test_image_lists.py::test_find_classes
the papers' numbers: 0, 1 and 2, or 0, 2, 0 and 2
  -> read as Control, Common Pneumonia and COVID-19
  = data/test_image_lists.py::test_find_classes
numbers that may be classes of your own: 1 alone, 0 and 1, 1 and 2, 3 and more, 0.0 and 1.0
  -> refused: write names, or list those of 0, 1, ... in DATASETS.IMAGE_CLASSES. The audit calls
     them "class 0", "class 1"
  = data/test_image_lists.py::test_numbers_without_names_are_not_the_papers_classes
a class called by the number of another one
  -> refused
  = data/test_image_lists.py::test_a_class_is_not_called_by_the_number_of_another
columns prob_0, prob_1, ...
  -> read; their logarithms are the logits
  = evaluation/test_prediction_table.py::test_columns_of_probabilities
columns logit_0, logit_1, ... with values that are 0 or more and add up to 1, or 100, in all rows
  -> read as logits, with a warning: probabilities and percentages change the calibration
  = evaluation/test_prediction_table.py::test_probabilities_that_are_called_logits_are_told
absolute paths and `..` in lists and COCO files that lead out of the folder of the list
  -> refused, unless below a folder that `--data-root DIR`, DATASETS.DATA_ROOT of a config or
     CTMASKNET_DATA_ROOT allows
  = data/test_list_paths.py::test_every_reader_of_lists_says_where_and_what_to_add
links below the folder of a list
  -> followed
  = data/test_list_paths.py::test_links_below_the_folder_are_followed_but_not_climbed_out_of
a Git LFS pointer or an HTML page instead of a list or a COCO file
  -> refused, and named as such
  = data/test_image_lists.py::test_lists_that_are_something_else_are_named

## Weights
a state dict, bare or under `model`
  -> read
  = checkpoint/test_wrapped_weights.py::test_the_state_dict_is_found_and_said_to_be
a state dict under `state_dict` or `model_state_dict`; `module.`, `_orig_mod.`, `model.` before
  each name
  -> read without them, and said to be
  = checkpoint/test_wrapped_weights.py::test_the_state_dict_is_found_and_said_to_be
a prefix before some names only; state dicts under two of the keys
  -> refused
  = checkpoint/test_wrapped_weights.py::test_what_is_not_one_whole_state_dict_is_refused
objects other than tensors, a pickle (.pkl)
  -> refused: no code of a file is run
  = checkpoint/test_wrapped_weights.py::test_a_pickle_as_of_a_model_zoo_is_refused_without_a_warning
a Git LFS pointer, an HTML page or an empty file instead of weights
  -> refused, and named as such
  = checkpoint/test_wrapped_weights.py::test_files_that_are_something_else_are_named
weights where a model with its config is expected
  -> refused: name the config, and the weights beside it
  = inference/test_model_spec.py::test_weights_alone_are_no_model
a config file that is a Git LFS pointer, empty or no mapping
  -> refused, and named as such
  = engine/test_own_classifier.py::test_a_config_file_that_is_something_else_is_named
tags in a config that would run code
  -> refused
  = test_config_files.py::test_tags_run_nothing
addresses, missing files and files that lead back to themselves as `_BASE_` of a config
  -> refused
  = test_config_files.py::test_bases_that_cannot_be_used
`_BASE_` of a config beside weights that leads out of its folder and the shipped configs
  -> refused
  = test_config_files.py::test_the_config_of_a_run_takes_bases_of_its_folder_and_ours
files of the author's kind that call, change or write anything when they are unpickled
  -> refused
  = checkpoint/test_reference_attacks.py::test_what_is_shared_stays_as_it_is
tensors of which not all bytes are in the file
  -> refused
  = test_limits.py::test_a_checkpoint_whose_tensors_are_not_all_there
a config that names a part which is not registered
  -> refused, and named
  = engine/test_own_classifier.py::test_a_part_that_is_not_registered_is_named
a ResNet of torchvision, a checkpoint of the author
  -> refused; `ctmasknet prepare weights` converts them
  = checkpoint/test_loading.py::test_a_torchvision_file_names_the_tool
an R50 classifier of the author with a mask head (before November 2020)
  -> converted with five RPN levels ([reference.md](reference.md))
  = checkpoint/test_reference_2020.py::test_a_mask_head_tells_the_age_of_an_r50_classifier
an R50 lesion model of the author with frozen norms (before November 2020)
  -> converted with five RPN levels, too
  = checkpoint/test_reference_2020.py::test_r50_lesion_models_from_before_november_2020
"""


class Row(NamedTuple):
    """A kind of input."""

    found: str
    happens: str
    file: str
    test: str


def _sections() -> dict[str, list[Row]]:
    sections = {}
    for part in _TABLE.split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        rows = re.findall(r"(.+?)\n  -> (.+?)\n  = (\S+)::(\w+)\n", text + "\n", re.DOTALL)
        sections[title] = [Row(*(" ".join(value.split()) for value in row)) for row in rows]
    return sections


SECTIONS = _sections()


def page() -> str:
    """Return the text of docs/inputs.md."""
    parts = [_HEAD]
    for title, rows in SECTIONS.items():
        lines = [f"| {row.found} | {row.happens} |\n" for row in rows]
        parts.append(f"## {title}\n\n| found | what happens |\n|---|---|\n{''.join(lines)}")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
