"""Checks of a loaded case, before anything learns from it."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from absl import logging

from fedsim_tf.data.headers import GRID_TOLERANCE_VOXELS, corner_indices
from fedsim_tf.errors import InputError
from fedsim_tf.volume import Volume

LUNG_HU = (-990.0, -200.0)  # above air, padding and what scanners fill the corners with
LEAST_LUNG = 0.02  # share of the voxels of a CT that shows a heart; a third is usual
OTHER_SHAPE, OTHER_SIZE = 1.25, 1.6  # ratios of two fields of view, along one axis and over all


def check_image(image: Volume, subject: str | os.PathLike) -> None:
    """Refuse voxels that are not finite and an image without any contrast, with an InputError.

    An image with next to nothing as dense as lung, as after a lost rescale intercept, is warned of. Its darkest values
    would tell nothing: padding may be as low as -3024.
    """
    bad = int(image.array.size - np.count_nonzero(np.isfinite(image.array)))
    if bad:
        raise InputError(subject, found=f"{bad} voxels that are NaN or infinite", expected="finite CT values in HU")
    low, high = float(image.array.min()), float(image.array.max())
    if low == high:
        raise InputError(subject, found=f"the same value {low:g} everywhere", expected="a CT image in HU")
    lung = float(np.mean((image.array > LUNG_HU[0]) & (image.array < LUNG_HU[1])))
    if lung < LEAST_LUNG:
        text = "%s: %.1f %% of the voxels are between %g and %g, where lung lies in HU: was the rescale intercept lost?"
        logging.warning(text, subject, 100 * lung, *LUNG_HU)


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
    """Refuse a label (region ids) without any voxel of a heart, with an InputError."""
    if not label.any():
        raise InputError(subject, found="no voxel of any region", expected="an annotated heart")


def _format_size(volume: Volume) -> str:
    return " x ".join(map(str, volume.array.shape[::-1]))


def _corners_mm(volume: Volume) -> np.ndarray:
    """Return the centres (8, 3) of the corner voxels in mm."""
    index = corner_indices(volume.array.shape[::-1])
    axes = np.asarray(volume.geometry.direction).reshape(3, 3)
    return np.asarray(volume.geometry.origin_mm) + (index * volume.geometry.spacing_mm) @ axes.T
