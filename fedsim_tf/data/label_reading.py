"""One door for every format in which a label lies: values of voxels, named masks or contours become region ids."""

from __future__ import annotations

import os
import pathlib

import numpy as np

from fedsim_tf.data.checks import check_same_grid
from fedsim_tf.data.formats import is_dicom_file
from fedsim_tf.data.labels import LabelScheme, parse_mask
from fedsim_tf.data.reading import read_volume
from fedsim_tf.data.structures import Structures, draw_regions
from fedsim_tf.volume import Volume


def read_label(
    path: str | os.PathLike, image: Volume, scheme: LabelScheme, *, image_subject: str | os.PathLike
) -> np.ndarray:
    """Return region ids (z, y, x), uint8, on an image's grid.

    Args:
      path: a file of voxels, a segmentation of 3D Slicer, or a DICOM file, RTSTRUCT or SEG.
      image: the CT that the label belongs to.
      scheme: the meaning of the values of files that have no names.
      image_subject: the image's name, for messages.

    Raises:
      InputError: a damaged file, another grid, unknown values, or no heart among a file's structures.
    """
    path = pathlib.Path(path)
    structures = _open_structures(path, image)
    if structures is not None:
        return draw_regions(structures, path)
    label = read_volume(path)
    check_same_grid(label, image, path, image_subject=image_subject)
    return scheme.apply(label.array, path)


def read_mask(path: pathlib.Path, image: Volume, *, image_subject: str | os.PathLike) -> np.ndarray:
    """Return the mask (z, y, x), bool, of one structure: where a file's voxels are not 0.

    Raises:
      InputError: a damaged file, another grid, voxels between 0 and 1, or several values beside 0.
    """
    mask = read_volume(path)
    check_same_grid(mask, image, path, image_subject=image_subject)
    return parse_mask(mask.array, path)


def _open_structures(path: pathlib.Path, image: Volume) -> Structures | None:
    """Return the named masks of a file, or None where voxels have values instead."""
    if path.is_file() and is_dicom_file(path):
        from fedsim_tf.data.dicom_files import read_dicom_header
        from fedsim_tf.data.dicom_seg import open_dicom_seg
        from fedsim_tf.data.rtstruct import open_rtstruct

        return (open_dicom_seg if read_dicom_header(path).kind == "seg" else open_rtstruct)(path, image)
    from fedsim_tf.data.slicer_segments import open_slicer_segments

    return open_slicer_segments(path, image) if path.is_file() else None
