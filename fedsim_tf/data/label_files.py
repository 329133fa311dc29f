"""Folders that hold label maps alone, of any site, for shape models."""

from __future__ import annotations

import os
import pathlib

from fedsim_tf.data.labels import ANY_SITE
from fedsim_tf.data.layouts import find_nifti_files, index_files, read_name
from fedsim_tf.data.nifti import read_volume
from fedsim_tf.errors import InputError
from fedsim_tf.volume import Volume


def find_label_files(root: str | os.PathLike) -> dict[str, pathlib.Path]:
    """Return the label maps below a folder by identity: files with "label" in their names, else every NIfTI file.

    Raises:
      InputError: no such folder, no NIfTI file below it, or two files of one name.
    """
    root = pathlib.Path(root)
    files = sorted(find_nifti_files(root)) if root.is_dir() else []
    if not files:
        reason = "no NIfTI files" if root.is_dir() else "no such folder"
        raise InputError(root, found=reason, expected="a folder with label maps (.nii or .nii.gz)")
    labels = [path for path in files if "label" in path.name.lower()]
    return index_files((read_name(path), path) for path in labels or files)


def read_label_map(path: str | os.PathLike) -> Volume:
    """Return the region ids (uint8) of a file with the values 0 to 7, those of MM-WHS, or heart and background.

    Raises:
      InputError: a damaged file, other values, or background alone.
    """
    volume = read_volume(path)
    regions = ANY_SITE.apply(volume.array, path)
    if not regions.any():
        raise InputError(path, found="background alone", expected="at least one region")
    return volume.with_array(regions)
