"""A mask, or a label map of regions, goes back in the format that is asked for, where its CT lies."""

from __future__ import annotations

import os
import pathlib

from fedsim_tf.data.formats import NIFTI_SUFFIXES, has_suffix
from fedsim_tf.data.nifti import write_nifti
from fedsim_tf.data.writing import WRITABLE_SUFFIXES, write_volume
from fedsim_tf.errors import InputError
from fedsim_tf.volume import Volume

MASK_ENDINGS = {  # what is asked for, and the ending of its files
    "nifti": ".nii.gz",
    "nrrd": ".nrrd",
    "metaimage": ".mha",
    "seg": ".dcm",
    "rtstruct": ".dcm",
}
_DICOM_FORMATS = ("seg", "rtstruct")


def choose_format(output: str | os.PathLike, asked: str | None) -> str:
    """Return the format of a mask's file: the one that is asked for, or the one that its name says.

    A .dcm file is an RTSTRUCT if its name has that word, else a SEG.

    Raises:
      InputError: a name that ends otherwise than the format's files, or that says no format.
    """
    path = pathlib.Path(output)
    by_suffix = {".nrrd": "nrrd", ".mha": "metaimage", **dict.fromkeys(NIFTI_SUFFIXES, "nifti")}
    named = next((name for suffix, name in by_suffix.items() if has_suffix(path, (suffix,))), None)
    if has_suffix(path, (".dcm",)):
        named = "rtstruct" if "rtstruct" in path.name.lower() else "seg"
    if named is None:
        expected = f"one in {', '.join(WRITABLE_SUFFIXES)}, or .dcm"
        raise InputError(output, found=f"a name ending in {path.suffix!r}", expected=expected)
    if asked and asked != named and not {asked, named} <= set(_DICOM_FORMATS):
        raise InputError(
            output, found=f"a name of {named}", expected=f"one ending in {MASK_ENDINGS[asked]} for {asked}"
        )
    return asked or named


def check_format(mask_format: str, image: str | os.PathLike) -> None:
    """Refuse DICOM for the mask of a CT that was none, or whose slices are one file, with an InputError."""
    if mask_format not in _DICOM_FORMATS:
        return
    if not pathlib.Path(image).is_dir():
        expected = "the folder of a DICOM series: SEG and RTSTRUCT refer to its slices"
        raise InputError(image, found="a CT that is no DICOM series", expected=expected)
    from fedsim_tf.data.dicom_series import select_ct_series

    select_ct_series(pathlib.Path(image))


def write_mask(
    mask: Volume,
    path: str | os.PathLike,
    *,
    image: str | os.PathLike,
    mask_format: str | None = None,
    by_region: bool = False,
) -> None:
    """Write a mask where its CT lies.

    A NIfTI mask of a NIfTI CT has the CT's own qform and sform. Region ids are the values of files of voxels, and
    structures of their own in SEG and RTSTRUCT.

    Args:
      mask: not 0 within the heart, on the CT's grid.
      path: the file.
      image: the CT's file or the folder of its slices.
      mask_format: a key of `MASK_ENDINGS`; None goes by the name.
      by_region: whether the mask's values are region ids.

    Raises:
      InputError: another ending, DICOM for a CT that was none, no voxel of a heart for DICOM, or a file that cannot be
        written.
    """
    path, image = pathlib.Path(path), pathlib.Path(image)
    chosen = choose_format(path, mask_format)
    check_format(chosen, image)
    if chosen in _DICOM_FORMATS:
        from fedsim_tf.data.dicom_writing import write_dicom_seg, write_rtstruct

        (write_dicom_seg if chosen == "seg" else write_rtstruct)(mask, image, path, by_region=by_region)
    elif chosen == "nifti":
        write_nifti(mask, path, place_of=image if has_suffix(image, NIFTI_SUFFIXES) else None)
    else:
        write_volume(mask, path)
