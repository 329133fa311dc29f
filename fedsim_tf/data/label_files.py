"""Folders that hold label maps alone, of any site, for shape models."""

from __future__ import annotations

import os
import pathlib

from fedsim_tf.data.annotated_hearts import check_odd_heart
from fedsim_tf.data.case_files import index_files
from fedsim_tf.data.checks import check_heart
from fedsim_tf.data.formats import strip_suffix
from fedsim_tf.data.labels import ANY_SITE, make_scheme
from fedsim_tf.data.layouts import find_nifti_files
from fedsim_tf.data.reading import read_volume
from fedsim_tf.data.remarks import warn
from fedsim_tf.errors import InputError, listed
from fedsim_tf.volume import Volume


def find_label_files(root: str | os.PathLike) -> dict[str, pathlib.Path]:
    """Return the label maps below a folder by identity: files with "label" in their names, else every NIfTI file.

    Files that are left out beside those with "label" in their names are named in the log.

    Raises:
      InputError: no such folder, no NIfTI file below it, or two files of one name.
    """
    root = pathlib.Path(root)
    files = sorted(find_nifti_files(root)) if root.is_dir() else []
    if not files:
        reason = "no NIfTI files" if root.is_dir() else "no such folder"
        raise InputError(root, found=reason, expected="a folder with label maps (.nii or .nii.gz)")
    labels = [path for path in files if "label" in path.name.lower()]
    others = [path.name for path in files if path not in labels]
    if labels and others:
        text = "%s: %d files with 'label' in their names are taken; left out are %d others: %s"
        warn(text, root, len(labels), len(others), listed(others))
    return index_files((strip_suffix(path), path) for path in labels or files)


def read_label_map(path: str | os.PathLike, *, label_values: str = "") -> Volume:
    """Return the region ids (uint8) of a file of label values.

    Args:
      path: the file.
      label_values: what its values mean, such as "heart:51" (see `parse_label_values`); empty: 0 to 7, those of MM-WHS,
        or heart and background.

    Raises:
      InputError: a damaged file, other values, background alone, or no background.
    """
    volume = read_volume(path)
    regions = (make_scheme(label_values) if label_values else ANY_SITE).apply(volume.array, path)
    check_heart(regions, path)
    label = volume.with_array(regions)
    check_odd_heart(label, path)
    return label
