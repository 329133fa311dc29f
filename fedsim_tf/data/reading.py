"""One door for every format in which a CT or a mask of voxels lies."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import numpy.typing as npt

from fedsim_tf.data.formats import META_SUFFIXES, NIFTI_SUFFIXES, NRRD_SUFFIXES, VOLUME_SUFFIXES, has_suffix
from fedsim_tf.data.itk_files import convert_values
from fedsim_tf.data.nifti import read_nifti
from fedsim_tf.errors import InputError
from fedsim_tf.volume import Volume

READABLE = f"a file in {', '.join(VOLUME_SUFFIXES)}, or a folder with a DICOM series"


def read_volume(path: str | os.PathLike, *, dtype: npt.DTypeLike | None = None) -> Volume:
    """Return the volume in a NIfTI, NRRD or MetaImage file, or in a folder with a DICOM series.

    Args:
      path: a .nii, .nii.gz, .nrrd, .nhdr, .mha or .mhd file, or a folder with the slices of one CT.
      dtype: the array's type; None keeps the file's.

    Raises:
      InputError: no such file, another format, truncated or damaged, not three-dimensional, several values a voxel,
        voxels that are NaN or infinite, sheared axes, or values that an integer `dtype` cannot hold.
    """
    path = pathlib.Path(path)
    volume = _read_any(path)
    if volume.array.dtype.kind == "f" and not has_suffix(path, NIFTI_SUFFIXES):  # those were read through already
        bad = int(volume.array.size - np.count_nonzero(np.isfinite(volume.array)))
        if bad:
            raise InputError(path, found=f"{bad} voxels that are NaN or infinite", expected="finite values")
    return volume if dtype is None else volume.with_array(convert_values(volume.array, np.dtype(dtype), path))


def _read_any(path: pathlib.Path) -> Volume:
    if path.is_dir():
        from fedsim_tf.data.dicom_series import read_dicom_series

        return read_dicom_series(path)
    if has_suffix(path, NIFTI_SUFFIXES):
        return read_nifti(path)
    if has_suffix(path, (*NRRD_SUFFIXES, *META_SUFFIXES)):
        from fedsim_tf.data.research_files import read_research_file

        return read_research_file(path)
    if not path.exists():
        raise InputError(path, found="no such file or folder", expected=READABLE)
    raise InputError(path, found=f"a name ending in {path.suffix!r}", expected=READABLE)
