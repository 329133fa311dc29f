"""Reading and writing NIfTI files, in the LPS frame."""

from __future__ import annotations

import gzip
import os
import pathlib

import SimpleITK as sitk

from fedsim_tf.data.contents import EXPECTED
from fedsim_tf.data.formats import NIFTI_SUFFIXES, has_suffix
from fedsim_tf.data.headers import check_axes
from fedsim_tf.data.images import image_to_volume, to_storable, volume_to_image
from fedsim_tf.data.integrity import check_whole
from fedsim_tf.data.itk_files import explain, read_itk_image
from fedsim_tf.data.nifti_place import with_place_of
from fedsim_tf.errors import InputError
from fedsim_tf.files import write_atomically
from fedsim_tf.volume import Volume


def read_nifti(path: str | os.PathLike) -> Volume:
    """Return the volume in a NIfTI file.

    Args:
      path: a .nii or .nii.gz file.

    Raises:
      InputError: no such file, truncated or damaged, not three-dimensional, voxels that are NaN or infinite, or sheared
        axes.
    """
    path = pathlib.Path(path)
    _check_suffix(path)
    check_axes(check_whole(path), path)
    # ITK refuses axes that are a hundredth of a degree from upright, as converters round them; `check_axes` is better.
    os.environ.setdefault("ITK_NIFTI_SFORM_PERMISSIVE", "1")
    return image_to_volume(read_itk_image(path, image_io="NiftiImageIO", expected=EXPECTED))


def write_nifti(volume: Volume, path: str | os.PathLike, *, place_of: pathlib.Path | None = None) -> None:
    """Write a NIfTI file, compressed if its name ends in .gz; after a failure the file is as it was before.

    Boolean arrays become uint8 and half-precision floats become float32, which NIfTI can hold. NIfTI keeps origin,
    spacing and direction in single precision.

    Args:
      volume: the array and its place.
      path: the file.
      place_of: a NIfTI file of the same grid, whose voxel size, qform and sform are copied.

    Raises:
      InputError: another suffix, or a file that cannot be written, such as to a full disk.
    """
    path = pathlib.Path(path)
    _check_suffix(path)
    array = to_storable(volume.array)
    compressed = path.suffix.lower() == ".gz"
    try:
        with write_atomically(path) as temporary:
            sitk.WriteImage(volume_to_image(volume.with_array(array)), str(temporary), useCompression=compressed)
            if place_of is not None:
                _copy_place(place_of, temporary)
            check_whole(temporary, finite=False)
    except InputError as error:
        raise InputError(
            path, found="a file that was cut short as it was written", expected="room on the disk"
        ) from error
    except RuntimeError as error:
        raise InputError(path, found=f"a failed write ({explain(error)})", expected="a writable place") from error


def _copy_place(source: pathlib.Path, target: pathlib.Path) -> None:
    content = target.read_bytes()
    if target.suffix.lower() == ".gz":
        target.write_bytes(gzip.compress(with_place_of(gzip.decompress(content), source)))
    else:
        target.write_bytes(with_place_of(content, source))


def _check_suffix(path: pathlib.Path) -> None:
    """Refuse a name that does not end in .nii or .nii.gz with an InputError."""
    if not has_suffix(path, NIFTI_SUFFIXES):
        expected = f"one in {' or '.join(NIFTI_SUFFIXES)}"
        raise InputError(path, found=f"a name ending in {path.suffix!r}", expected=expected)
