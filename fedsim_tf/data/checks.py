"""What a loaded case must fulfil before anything learns from it."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from absl import logging

from fedsim_tf.data.headers import GRID_TOLERANCE_VOXELS, corners
from fedsim_tf.errors import InputError
from fedsim_tf.volume import Volume

LUNG_HU = (-990.0, -200.0)  # above air, padding and what scanners fill the corners with
LEAST_LUNG = 0.02  # of a CT that shows a heart: a third is usual
OTHER_SHAPE, OTHER_SIZE = 1.25, 1.6  # ratios of two fields of view, along one axis and over all


def check_image(image: Volume, subject: str | os.PathLike) -> None:
    """Raises InputError for voxels that are not finite and for an image without any contrast.

    An image with next to nothing as dense as lung, as one has whose rescale intercept was lost, is warned of. Its
    darkest values say nothing: padding may be as low as -3024.
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
    """Raises InputError if a label does not lie on its image's grid.

    Grids are the same if they have the same shape and no corner voxel lies further apart than a tenth of a voxel.
    """
    if label.array.shape != image.array.shape:
        found, expected = (f"a label of {_size(volume)} voxels" for volume in (label, image))
        raise InputError(label_subject, found=found, expected=f"{expected.split(' of ')[1]}, as in {image_subject}")
    apart_mm = float(np.linalg.norm(_corners_mm(label) - _corners_mm(image), axis=1).max())
    allowed_mm = GRID_TOLERANCE_VOXELS * min(image.spacing_mm)
    if apart_mm > allowed_mm:
        found = f"a grid whose corners lie up to {apart_mm:.3g} mm from those of the image"
        raise InputError(label_subject, found=found, expected=f"the grid of {image_subject} (to {allowed_mm:.2g} mm)")


def unlike(extent_mm: Sequence[float], usual_mm: Sequence[float]) -> bool:
    """Whether a field of view is of another shape than the usual one, or far larger or smaller.

    All of it becomes one cube, so that a heart in a field of view of another shape is squeezed or stretched. Where
    small patients are scanned with proportionally small ones, hearts look alike.
    """
    ratio = np.asarray(extent_mm) / np.asarray(usual_mm)
    size = float(np.prod(ratio)) ** (1.0 / len(ratio))
    shape = np.maximum(ratio / size, size / ratio)
    return bool(shape.max() > OTHER_SHAPE or max(size, 1.0 / size) > OTHER_SIZE)


def extent_text(lengths_mm: Sequence[float]) -> str:
    """A field of view for a message, such as "330 x 330 x 205"."""
    return " x ".join(f"{mm:.0f}" for mm in lengths_mm)


def check_heart(label: np.ndarray, subject: str | os.PathLike) -> None:
    """Raises InputError if no voxel of a label (region ids) belongs to a heart."""
    if not label.any():
        raise InputError(subject, found="no voxel of any region", expected="an annotated heart")


def _size(volume: Volume) -> str:
    return " x ".join(map(str, volume.array.shape[::-1]))


def _corners_mm(volume: Volume) -> np.ndarray:
    """Centres of the eight corner voxels in mm. Shape (8, 3)."""
    index = corners(volume.array.shape[::-1])
    axes = np.asarray(volume.geometry.direction).reshape(3, 3)
    return np.asarray(volume.geometry.origin_mm) + (index * volume.geometry.spacing_mm) @ axes.T
