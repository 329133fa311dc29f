"""Reading and writing NIfTI files, in the LPS frame."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from fedsim_tf.data.contents import EXPECTED
from fedsim_tf.data.headers import check_axes
from fedsim_tf.data.images import image_to_volume, volume_to_image
from fedsim_tf.data.integrity import check_whole
from fedsim_tf.errors import InputError
from fedsim_tf.files import write_atomically
from fedsim_tf.volume import Volume

SUFFIXES = (".nii", ".nii.gz")


def read_volume(path: str | os.PathLike, *, dtype: npt.DTypeLike | None = None) -> Volume:
    """Return the volume in a NIfTI file.

    Args:
      path: a .nii or .nii.gz file.
      dtype: the array's type; None keeps the file's.

    Raises:
      InputError: no such file, truncated or damaged, not three-dimensional, with sheared axes, or values that an
        integer `dtype` cannot hold.
    """
    path = pathlib.Path(path)
    check_suffix(path)
    check_axes(check_whole(path), path)
    volume = image_to_volume(_read_image(path))
    return volume if dtype is None else volume.with_array(_convert(volume.array, np.dtype(dtype), path))


def write_volume(volume: Volume, path: str | os.PathLike) -> None:
    """Write a NIfTI file, compressed if its name ends in .gz; after a failure the file is as it was before.

    Boolean arrays become uint8 and half-precision floats become float32, which NIfTI can hold. NIfTI keeps origin,
    spacing and direction in single precision.

    Raises:
      InputError: another suffix, or a file that cannot be written, such as to a full disk.
    """
    path = pathlib.Path(path)
    check_suffix(path)
    stored = {np.dtype(bool): np.uint8, np.dtype(np.float16): np.float32}.get(volume.array.dtype)
    array = np.ascontiguousarray(volume.array if stored is None else volume.array.astype(stored))
    compressed = path.suffix.lower() == ".gz"
    try:
        with write_atomically(path) as temporary:
            sitk.WriteImage(volume_to_image(volume.with_array(array)), str(temporary), useCompression=compressed)
            check_whole(temporary, finite=False)
    except InputError as error:
        raise InputError(
            path, found="a file that was cut short as it was written", expected="room on the disk"
        ) from error
    except RuntimeError as error:
        raise InputError(path, found=f"a failed write ({_reason(error)})", expected="a writable place") from error


def check_suffix(path: pathlib.Path) -> None:
    """Refuse a name that does not end in .nii or .nii.gz with an InputError."""
    if not path.name.lower().endswith(SUFFIXES):
        raise InputError(path, found=f"a name ending in {path.suffix!r}", expected=f"one in {' or '.join(SUFFIXES)}")


def _read_image(path: pathlib.Path) -> sitk.Image:
    # ITK refuses axes that are a hundredth of a degree from upright, as converters round them; `check_axes` is better.
    os.environ.setdefault("ITK_NIFTI_SFORM_PERMISSIVE", "1")
    reader = sitk.ImageFileReader()
    reader.SetImageIO("NiftiImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        if reader.GetDimension() != 3:
            size = " x ".join(map(str, reader.GetSize()))
            raise InputError(path, found=f"{reader.GetDimension()} dimensions ({size})", expected="three dimensions")
        if reader.GetNumberOfComponents() != 1:
            raise InputError(path, found=f"{reader.GetNumberOfComponents()} values a voxel", expected="one")
        return reader.Execute()
    except RuntimeError as error:
        raise InputError(path, found=f"an unreadable image ({_reason(error)})", expected=EXPECTED) from error


def _reason(error: RuntimeError) -> str:
    """Return the last line of ITK's message: the lines before it are about ITK's source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def _convert(array: np.ndarray, dtype: np.dtype, path: pathlib.Path) -> np.ndarray:
    if dtype == array.dtype:
        return array
    with np.errstate(invalid="ignore"):
        converted = array.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(converted, array):
        raise InputError(
            path, found=f"{array.dtype} values outside of {dtype}", expected=f"values that {dtype} can hold"
        )
    return converted
