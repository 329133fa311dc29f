"""A cone-beam geometry as plain numbers, checked."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True, eq=False)
class ConeGeometry:
    """What the operators need to know; everything along (z, y, x).

    Attributes:
      volume_shape: voxels; origin_mm: centre of the first voxel; spacing_mm: voxel size.
      detector_shape: (rows, columns).
      matrices: (views, 3, 4) float64, (x, y, z, 1) in mm to detector coordinates.
      multiplier: constant of the back-projection's weight.
    """

    volume_shape: tuple[int, int, int]
    origin_mm: np.ndarray
    spacing_mm: np.ndarray
    detector_shape: tuple[int, int]
    matrices: np.ndarray
    multiplier: float

    def _key(self) -> tuple:
        arrays = (self.origin_mm, self.spacing_mm, self.matrices)
        return (self.volume_shape, self.detector_shape, self.multiplier, *(array.tobytes() for array in arrays))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConeGeometry) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    @property
    def n_pixels(self) -> int:
        """Pixels of the detector."""
        return self.detector_shape[0] * self.detector_shape[1]

    @property
    def sources_mm(self) -> np.ndarray:
        """Positions (views, 3) of the X-ray source, (x, y, z)."""
        return -np.linalg.solve(self.matrices[:, :, :3], self.matrices[:, :, 3:])[..., 0]

    @property
    def inverses(self) -> np.ndarray:
        """(views, 3, 3): detector coordinates (u, v, 1) to ray directions (x, y, z)."""
        return np.linalg.inv(self.matrices[:, :, :3])


def parse_geometry(
    *,
    volume_shape: Any,
    detector_shape: Any,
    volume_origin: Any,
    volume_spacing: Any,
    projection_matrices: Any,
    projection_multiplier: Any,
) -> ConeGeometry:
    """Checks PYRO-NN's arguments, each with or without a leading batch dimension whose entries agree.

    Raises:
      ValueError: names the argument, what was found and what was expected.
    """
    matrices = _array("projection_matrices", projection_matrices, 3, np.float64)
    if matrices.shape[1:] != (3, 4) or not len(matrices):
        raise ValueError(f"projection_matrices: found shape {matrices.shape}; expected (views, 3, 4)")
    if np.any(np.abs(np.linalg.det(matrices[:, :, :3])) < 1e-12):
        raise ValueError("projection_matrices: found a singular matrix; expected a source at finite distance")
    spacing = _array("volume_spacing", volume_spacing, 1, np.float64)
    if spacing.shape != (3,) or np.any(spacing <= 0):
        raise ValueError(f"volume_spacing: found {spacing}; expected three positive lengths in mm")
    origin = _array("volume_origin", volume_origin, 1, np.float64)
    if origin.shape != (3,):
        raise ValueError(f"volume_origin: found {origin}; expected three coordinates in mm")
    multiplier = float(_array("projection_multiplier", projection_multiplier, 0, np.float64))
    return ConeGeometry(
        _counts("volume_shape", volume_shape, 3),
        origin,
        spacing,
        _counts("detector_shape", detector_shape, 2),
        matrices,
        multiplier,
    )


def _counts(name: str, value: Any, length: int) -> tuple:
    counts = tuple(int(n) for n in _array(name, value, 1, np.int64))
    if len(counts) != length or min(counts) < 1:
        raise ValueError(f"{name}: found {counts}; expected {length} positive numbers")
    return counts


def _array(name: str, value: Any, rank: int, dtype: Any) -> np.ndarray:
    """A constant as an array of this rank; a leading batch dimension is dropped if its entries agree."""
    if tf.is_tensor(value):
        static = tf.get_static_value(value)
        if static is None:
            raise ValueError(f"{name}: found a tensor that is not constant; expected an array or a constant tensor")
        value = static
    if isinstance(value, tf.TensorShape):
        value = value.as_list()
    array = np.asarray(value).astype(dtype)
    if array.ndim == rank + 1 and len(array):
        if np.any(array != array[:1]):
            raise ValueError(f"{name}: found entries that differ within the batch; expected one geometry for the batch")
        array = array[0]
    if array.ndim != rank:
        raise ValueError(f"{name}: found shape {array.shape}; expected {rank} dimensions, or one more for the batch")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name}: found NaN or infinity; expected finite values")
    return array
