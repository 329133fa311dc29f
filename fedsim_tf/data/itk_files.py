"""Files as ITK reads them: one scalar volume of three dimensions, with errors of one line."""

from __future__ import annotations

import pathlib

import numpy as np
import SimpleITK as sitk

from fedsim_tf.errors import InputError


def read_itk_image(path: pathlib.Path, *, image_io: str, expected: str, layers: bool = False) -> sitk.Image:
    """Return the image in a file.

    Args:
      path: the file.
      image_io: ITK's name of the format, such as "NiftiImageIO".
      expected: what the file has to be, for messages.
      layers: whether a voxel may have several values.

    Raises:
      InputError: a file that ITK cannot read, other than three dimensions, or several values a voxel.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO(image_io)
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        if reader.GetDimension() != 3:
            size = " x ".join(map(str, reader.GetSize()))
            raise InputError(path, found=f"{reader.GetDimension()} dimensions ({size})", expected="three dimensions")
        if reader.GetNumberOfComponents() != 1 and not layers:
            raise InputError(path, found=f"{reader.GetNumberOfComponents()} values a voxel", expected="one")
        return reader.Execute()
    except RuntimeError as error:
        raise InputError(path, found=f"an unreadable image ({explain(error)})", expected=expected) from error


def explain(error: RuntimeError) -> str:
    """Return the last line of ITK's message: the lines before it are about ITK's source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def convert_values(array: np.ndarray, dtype: np.dtype, path: pathlib.Path) -> np.ndarray:
    """Return an array as another type, and refuse values that an integer type cannot hold with an InputError."""
    if dtype == array.dtype:
        return array
    with np.errstate(invalid="ignore"):
        converted = array.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(converted, array):
        found = f"{array.dtype} values outside of {dtype}"
        raise InputError(path, found=found, expected=f"values that {dtype} can hold")
    return converted
