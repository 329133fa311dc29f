"""Folders of label maps alone, of any site, for shape models."""

from __future__ import annotations

import os
import pathlib

from fedsim_tf.data.labels import ANY_SITE
from fedsim_tf.data.layouts import nifti_files, stem, unique
from fedsim_tf.data.nifti import read_volume
from fedsim_tf.errors import InputError
from fedsim_tf.volume import Volume


def find_label_files(root: str | os.PathLike) -> dict[str, pathlib.Path]:
    """NIfTI label maps by identity: files with "label" in their names if there are any, else every NIfTI file.

    Raises:
      InputError: no such folder, no NIfTI files below it, or two of one name.
    """
    root = pathlib.Path(root)
    files = sorted(nifti_files(root)) if root.is_dir() else []
    if not files:
        reason = "no NIfTI files" if root.is_dir() else "no such folder"
        raise InputError(root, found=reason, expected="a folder with label maps (.nii or .nii.gz)")
    labels = [path for path in files if "label" in path.name.lower()]
    return unique((stem(path), path) for path in labels or files)


def read_label_map(path: str | os.PathLike) -> Volume:
    """Region ids uint8 of a label map with the values 0..7, those of MM-WHS, or heart and background.

    Raises:
      InputError: a damaged file, other values, or nothing but background.
    """
    volume = read_volume(path)
    regions = ANY_SITE.apply(volume.array, path)
    if not regions.any():
        raise InputError(path, found="background alone", expected="at least one region")
    return volume.with_array(regions)
