"""Checks of a loaded case, before anything learns from it."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from fedsim_tf.data.headers import GRID_TOLERANCE_VOXELS, corner_indices
from fedsim_tf.data.image_values import describe_other_than_hu
from fedsim_tf.data.remarks import warn
from fedsim_tf.errors import InputError
from fedsim_tf.volume import Volume

LUNG_HU = (-990.0, -200.0)  # above air, padding and what scanners fill the corners with
LEAST_LUNG = 0.02  # share of the voxels of a CT that shows a heart; a third is usual
OTHER_SHAPE, OTHER_SIZE = 1.25, 1.6  # ratios of two fields of view, along one axis and over all
FIELD_OF_VIEW_MM = (60.0, 1000.0)  # of a CT that shows a heart, along each axis
_ROUNDING_MM = 0.1  # spacings are single precision
# How the lengths may be written that would be possible ones in mm, by the factor that makes them so.
_UNITS = {
    10.0: "written in centimetres",
    1000.0: "written in metres",
    0.001: "written in micrometres, or in millimetres below a header that says metres",
}
CUT_OFF = 0.01  # share of the voxels at the highest value of an image that was windowed
MOST_HEART = 0.8  # share of the field of view; an ellipsoid takes half of a box that just holds it


def check_image(
    image: Volume, subject: str | os.PathLike, *, any_extent: bool = False, any_values: bool = False
) -> None:
    """Refuse what is no CT of a chest in HU, and warn of what may be none.

    Next to nothing as dense as lung, as after a lost rescale intercept, is warned of: the darkest values would tell
    nothing, as padding may be as low as -3024. So are values that were cut off below 1000 HU.

    Args:
      image: what was read.
      subject: its file, for messages.
      any_extent: whether the spacing is known to be wrong, so that the field of view says nothing.
      any_values: whether values that are no HU are wanted too.

    Raises:
      InputError: voxels that are not finite, an image without any contrast, values that are no HU (see `image_values`)
        or a field of view outside 60 to 1000 mm.
    """
    bad = int(image.array.size - np.count_nonzero(np.isfinite(image.array)))
    if bad:
        raise InputError(subject, found=f"{bad} voxels that are NaN or infinite", expected="finite CT values in HU")
    low, high = float(image.array.min()), float(image.array.max())
    if low == high:
        raise InputError(subject, found=f"the same value {low:g} everywhere", expected="a CT image in HU")
    other = None if any_values else describe_other_than_hu(image.array, low, high)
    if other:
        raise InputError(subject, found=other, expected="a CT in HU, where air has -1000 and water 0")
    if not any_extent:
        check_field_of_view(image, subject)
    lung = float(np.mean((image.array > LUNG_HU[0]) & (image.array < LUNG_HU[1])))
    if lung < LEAST_LUNG:
        text = "%s: %.1f %% of the voxels are between %g and %g, where lung lies in HU: was the rescale intercept lost?"
        warn(text, subject, 100 * lung, *LUNG_HU)
    cut_off = float(np.mean(image.array == high)) if high < 1000 else 0.0
    if cut_off > CUT_OFF:
        text = (
            "%s: %.1f %% of the voxels have the highest value, %g: was the image windowed? Bone and contrast are lost"
        )
        warn(text, subject, 100 * cut_off, high)


def check_field_of_view(image: Volume, subject: str | os.PathLike) -> None:
    """Refuse a field of view outside 60 to 1000 mm along any axis with an InputError that names the likely unit."""
    least, most = FIELD_OF_VIEW_MM
    extent_mm = np.array(image.field_of_view_mm)

    def is_possible(lengths_mm: np.ndarray) -> bool:
        return bool(lengths_mm.min() >= least - _ROUNDING_MM and lengths_mm.max() <= most + _ROUNDING_MM)

    if is_possible(extent_mm):
        return
    likely = next((unit for factor, unit in _UNITS.items() if is_possible(extent_mm * factor)), None)
    found = f"a field of view of {' x '.join(f'{mm:.3g}' if mm < 1000 else f'{mm:.0f}' for mm in extent_mm)} mm" + (
        f", as if {likely}" if likely else ""
    )
    expected = f"{least:g} to {most:g} mm along each axis" + (
        ": correct the spacing in its header" if likely else ": a CT of the chest, cropped where it shows far more"
    )
    raise InputError(subject, found=found, expected=expected)


def check_same_grid(
    label: Volume, image: Volume, label_subject: str | os.PathLike, *, image_subject: str | os.PathLike
) -> None:
    """Refuse a label that does not lie on its image's grid, with an InputError.

    Two grids are the same if they have one shape and their corner voxels lie within a tenth of a voxel of each other.
    """
    if label.array.shape != image.array.shape:
        expected = f"{_format_size(image)} voxels, as in {image_subject}"
        raise InputError(label_subject, found=f"a label of {_format_size(label)} voxels", expected=expected)
    apart_mm = float(np.linalg.norm(_corners_mm(label) - _corners_mm(image), axis=1).max())
    allowed_mm = GRID_TOLERANCE_VOXELS * min(image.spacing_mm)
    if apart_mm > allowed_mm:
        found = f"a grid whose corners lie up to {apart_mm:.3g} mm from those of the image"
        raise InputError(label_subject, found=found, expected=f"the grid of {image_subject} (to {allowed_mm:.2g} mm)")


def is_unusual_extent(extent_mm: Sequence[float], usual_mm: Sequence[float]) -> bool:
    """Return whether a field of view has another shape than the usual one, or is far larger or smaller.

    The whole field of view becomes a cube: one of another shape squeezes or stretches the heart. Where the field of
    view is proportional to the patient, hearts look alike.
    """
    ratio = np.asarray(extent_mm) / np.asarray(usual_mm)
    size = float(np.prod(ratio)) ** (1.0 / len(ratio))
    shape = np.maximum(ratio / size, size / ratio)
    return bool(shape.max() > OTHER_SHAPE or max(size, 1.0 / size) > OTHER_SIZE)


def extent_text(lengths_mm: Sequence[float]) -> str:
    """Return a field of view as text, such as "330 x 330 x 205"."""
    return " x ".join(f"{mm:.0f}" for mm in lengths_mm)


def check_heart(label: np.ndarray, subject: str | os.PathLike) -> None:
    """Refuse a label (region ids) without any voxel of a heart, without background, or with next to none.

    Raises:
      InputError: says which.
    """
    share = np.count_nonzero(label) / label.size
    if share == 0:
        raise InputError(subject, found="no voxel of any region", expected="an annotated heart")
    if share > MOST_HEART:
        found = "no background: every voxel is heart" if share == 1 else f"{share:.0%} of the field of view as heart"
        raise InputError(subject, found=found, expected="0 outside the heart; heart and background may be swapped")


def _format_size(volume: Volume) -> str:
    return " x ".join(map(str, volume.array.shape[::-1]))


def _corners_mm(volume: Volume) -> np.ndarray:
    """Return the centres (8, 3) of the corner voxels in mm."""
    index = corner_indices(volume.array.shape[::-1])
    axes = np.asarray(volume.geometry.direction).reshape(3, 3)
    return np.asarray(volume.geometry.origin_mm) + (index * volume.geometry.spacing_mm) @ axes.T
