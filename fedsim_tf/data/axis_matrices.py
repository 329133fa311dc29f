"""Resampling of a volume by one matrix for each axis: matched smoothing and linear interpolation in a single product.

Both are linear and work axis by axis. As products of matrices they never make the smoothed volume on the fine grid,
which for a CT of 512 x 512 x 1000 voxels takes most of the time and of the memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special

_FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
_TAIL = 1e-3  # share of the Gaussian that is cut off, as far as ITK's DiscreteGaussian does in its default


def resample_field_of_view(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Divide a volume's field of view into another number of voxels.

    Where voxels grow, detail is removed that they cannot hold: linear interpolation looks at two voxels along each
    axis, and would sample noise and edges of a much finer image as they happen to lie. The Gaussian widens a point
    spread of one old voxel to one new voxel, full width at half maximum (Cardoso et al., Scale factor point spread
    function matching, MICCAI 2015). Beyond its border an image goes on as it ends.

    Args:
      array: (z, y, x).
      shape: the wanted (z, y, x).

    Returns:
      float32, of that shape.
    """
    changed = [axis for axis in range(array.ndim) if array.shape[axis] != shape[axis]]
    return multiply_axes(array, {axis: make_axis_matrix(array.shape[axis], shape[axis]) for axis in changed})


def multiply_axes(array: np.ndarray, matrices: Mapping[int, np.ndarray]) -> np.ndarray:
    """Return an array, float32, with each axis multiplied by its matrix (new, old); other axes stay as they are."""
    array = np.asarray(array, np.float32)
    # The axis that shrinks most goes first: it leaves the least to do and to keep.
    for axis in sorted(matrices, key=lambda axis: matrices[axis].shape[0] / matrices[axis].shape[1]):
        array = _multiply(matrices[axis], array, axis)
    return array


def make_axis_matrix(old: int, new: int) -> np.ndarray:
    """Return the matrix (new, old), float32, that takes `old` voxels along an axis to `new` of the same extent."""
    growth = old / new
    return make_sampling_matrix(old, (np.arange(new) + 0.5) * growth - 0.5, growth)


def make_sampling_matrix(old: int, centres: np.ndarray, growth: float) -> np.ndarray:
    """Return the matrix (n, old), float32, that takes `old` voxels along an axis to n voxels at any places.

    Args:
      old: the voxels of the axis.
      centres: (n,) where the new voxels' centres lie, as indices of the old ones, fractions too. A new voxel that does
        not lie between the axis's outer borders has a row of zeros.
      growth: the edge of a new voxel in old ones.
    """
    new = len(centres)
    below = np.clip(np.floor(centres).astype(int), 0, old - 1)
    above = np.clip(below + 1, 0, old - 1)
    share = np.clip(centres - below, 0.0, 1.0)
    interpolation = np.zeros((new, old))
    rows = np.arange(new)
    np.add.at(interpolation, (rows, below), 1.0 - share)
    np.add.at(interpolation, (rows, above), share)
    interpolation[(centres < -0.5) | (centres > old - 0.5)] = 0.0
    variance = max(growth**2 - 1.0, 0.0) / _FWHM_PER_SIGMA**2
    return (interpolation @ _smoothing_matrix(old, variance)).astype(np.float32)


def _smoothing_matrix(n: int, variance: float) -> np.ndarray:
    """Return the matrix (n, n) of a discrete Gaussian, whose variance is in voxels squared."""
    if variance == 0.0:
        return np.eye(n)
    kernel = _gaussian_kernel(variance)
    matrix, rows = np.zeros((n, n)), np.arange(n)
    for offset in range(1 - len(kernel), len(kernel)):
        np.add.at(matrix, (rows, np.clip(rows + offset, 0, n - 1)), kernel[abs(offset)])
    return matrix


def _gaussian_kernel(variance: float) -> np.ndarray:
    """Return half of a discrete Gaussian (Lindeberg 1990), from its middle outwards; the whole of it adds up to 1."""
    kernel = [float(special.ive(0, variance)), float(special.ive(1, variance))]
    while kernel[0] + 2.0 * sum(kernel[1:]) < 1.0 - _TAIL:
        kernel.append(float(special.ive(len(kernel), variance)))
    return np.array(kernel) / (kernel[0] + 2.0 * sum(kernel[1:]))


def _multiply(matrix: np.ndarray, array: np.ndarray, axis: int) -> np.ndarray:
    if axis == 0:
        return (matrix @ array.reshape(len(array), -1)).reshape(len(matrix), *array.shape[1:])
    return matrix @ array if axis == 1 else array @ matrix.T
