"""Measure how much CT values change from voxel to voxel, which tells smooth and striped volumes from real ones."""

from __future__ import annotations

import numpy as np

from fedsim_tf.records.likeness_record import Differences

_AXES = (2, 1, 0)  # of arrays (z, y, x), in the order x, y, z
_ORDERS = (1, 2)


def sum_differences(image_hu: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the sums of absolute first and second differences along x, y and z, and how many there are.

    A difference counts where all of its two or three voxels lie inside. Sums of several volumes may be added.

    Args:
      image_hu: (z, y, x) in HU.
      inside: (z, y, x) bool.

    Returns:
      (2, 3, 2) float64: order of the difference, axis, then sum in HU and number.
    """
    found = np.zeros((len(_ORDERS), len(_AXES), 2))
    for row, order in enumerate(_ORDERS):
        for column, axis in enumerate(_AXES):
            steps = np.abs(np.diff(image_hu, n=order, axis=axis))[_all_inside(inside, order, axis)]
            found[row, column] = steps.sum(dtype=np.float64), steps.size
    return found


def mean_differences(sums: np.ndarray) -> Differences | None:
    """Return the mean absolute differences of what `sum_differences` gives; None where some axis has none."""
    if not sums[..., 1].all():
        return None
    first, second = (tuple(row.tolist()) for row in sums[..., 0] / sums[..., 1])
    return Differences(first=first, second=second)


def _all_inside(inside: np.ndarray, order: int, axis: int) -> np.ndarray:
    """Return where each of the order + 1 voxels in a row that a difference takes lies inside."""
    count = inside.shape[axis] - order
    rows = [np.take(inside, np.arange(first, first + count), axis=axis) for first in range(order + 1)]
    return np.logical_and.reduce(rows)
