"""What a loaded case must fulfil before anything learns from it."""

from __future__ import annotations

import itertools
import os

import numpy as np
from absl import logging

from fedsim_tf.errors import InputError
from fedsim_tf.volume import Volume

HIGHEST_MINIMUM_HU = -200.0
# Headers are single precision and are rounded by converters; a tenth of a voxel is far above that.
GRID_TOLERANCE_VOXELS = 0.1


def check_image(image: Volume, subject: str | os.PathLike) -> None:
    """Raises InputError for voxels that are not finite and for an image without any contrast.

    An image without air or lung, as one has whose rescale intercept was lost, is warned of.
    """
    bad = int(image.array.size - np.count_nonzero(np.isfinite(image.array)))
    if bad:
        raise InputError(subject, found=f"{bad} voxels that are NaN or infinite", expected="finite CT values in HU")
    low, high = float(image.array.min()), float(image.array.max())
    if low == high:
        raise InputError(subject, found=f"the same value {low:g} everywhere", expected="a CT image in HU")
    if low > HIGHEST_MINIMUM_HU:
        text = "%s: no value below %g; in HU lung has about -800 and air -1000: was the rescale intercept lost?"
        logging.warning(text, subject, low)


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


def check_heart(label: np.ndarray, subject: str | os.PathLike) -> None:
    """Raises InputError if no voxel of a label (region ids) belongs to a heart."""
    if not label.any():
        raise InputError(subject, found="no voxel of any region", expected="an annotated heart")


def _size(volume: Volume) -> str:
    return " x ".join(map(str, volume.array.shape[::-1]))


def _corners_mm(volume: Volume) -> np.ndarray:
    """Centres of the eight corner voxels in mm. Shape (8, 3)."""
    index = np.array(list(itertools.product(*((0, n - 1) for n in volume.array.shape[::-1]))), float)
    axes = np.asarray(volume.geometry.direction).reshape(3, 3)
    return np.asarray(volume.geometry.origin_mm) + (index * volume.geometry.spacing_mm) @ axes.T
