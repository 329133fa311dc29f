"""Reading and writing NRRD (3D Slicer, teem) and MetaImage (ITK, elastix), in the LPS frame."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator, Mapping

import numpy as np
import SimpleITK as sitk

from fedsim_tf.data.formats import META_SUFFIXES, has_suffix
from fedsim_tf.data.images import image_to_volume, to_storable, volume_to_image
from fedsim_tf.data.itk_files import explain, read_itk_image
from fedsim_tf.data.text_headers import EXPECTED_TEXT_HEADER, TextHeader, check_voxels_whole, read_text_header
from fedsim_tf.errors import InputError
from fedsim_tf.files import write_atomically
from fedsim_tf.volume import Volume

_SIZES = ("space directions", "spacings", "elementspacing", "elementsize")  # fields that tell a voxel's size
_ORTHONORMAL_TO = 1e-4  # as `Volume` has it
_NUMBER = re.compile(r"[^\s(),]+")


def read_research_file(path: pathlib.Path) -> Volume:
    """Return the volume in a .nrrd, .nhdr, .mha or .mhd file.

    Raises:
      InputError: a damaged or truncated file, voxels without a size, other than three dimensions, several values a
        voxel, or axes that are not at right angles.
    """
    image, _ = open_research_file(path)
    return image_to_volume(image)


def open_research_file(path: pathlib.Path, *, layers: bool = False) -> tuple[sitk.Image, TextHeader]:
    """Return a file's image, which may have several values a voxel if `layers` says so, and its header."""
    header = read_text_header(path)
    _check_sizes(header, path)
    check_voxels_whole(header, path)
    image_io = "MetaImageIO" if has_suffix(path, META_SUFFIXES) else "NrrdImageIO"
    image = read_itk_image(path, image_io=image_io, expected=EXPECTED_TEXT_HEADER, layers=layers)
    _check_upright(image, path)
    return image, header


def write_research_file(volume: Volume, path: pathlib.Path, *, fields: Mapping[str, str] | None = None) -> None:
    """Write a .nrrd or .mha file, packed; after a failure the file is as it was before.

    Args:
      volume: the array and its place.
      path: the file.
      fields: what else its header says, by name.

    Raises:
      InputError: a .nhdr or .mhd file, whose voxels would lie in another one, or a place that cannot be written to.
    """
    if has_suffix(path, (".nhdr", ".mhd")):
        raise InputError(path, found="a header whose voxels lie in another file", expected="one file: .nrrd or .mha")
    try:
        with write_atomically(path) as temporary:
            image = volume_to_image(volume.with_array(to_storable(volume.array)))
            for name, value in (fields or {}).items():
                image.SetMetaData(name, value)
            sitk.WriteImage(image, str(temporary), useCompression=True)
            check_voxels_whole(read_text_header(temporary), path)
    except RuntimeError as error:
        raise InputError(path, found=f"a failed write ({explain(error)})", expected="a writable place") from error


def _check_sizes(header: TextHeader, path: pathlib.Path) -> None:
    """Refuse voxels without a size, or with one that is no number: ITK takes them for 1 mm."""
    given = [header.fields[name] for name in _SIZES if name in header.fields]
    if not given:
        raise InputError(path, found="no size of its voxels in its header", expected="their size in mm")
    if not all(np.isfinite(number) for text in given for number in _numbers(text)):
        raise InputError(path, found=f"voxels of {given[0]} mm in its header", expected="their true size")


def _numbers(text: str) -> Iterator[float]:
    for word in _NUMBER.findall(text):
        if word.lower() != "none":  # the axis of an image's layers has no direction
            yield float(word)


def _check_upright(image: sitk.Image, path: pathlib.Path) -> None:
    axes = np.reshape(image.GetDirection(), (3, 3))
    if not np.allclose(axes @ axes.T, np.eye(3), atol=_ORTHONORMAL_TO):
        found = f"sheared axes: {np.round(axes, 4).tolist()}"
        raise InputError(path, found=found, expected="a CT that was resampled to upright axes")
