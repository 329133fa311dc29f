"""Volumes with their place in the patient, and cases made of them.

Arrays are indexed [z, y, x]. Physical vectors (spacing, origin, direction, points) are (x, y, z) in mm,
in the LPS frame of DICOM and ITK: x to the patient's left, y to the back, z to the head.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from fedsim_tf.errors import InputError

IDENTITY_DIRECTION = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


class Geometry(NamedTuple):
    """The place of a voxel grid: spacing, centre of the first voxel, and direction cosines row by row."""

    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = IDENTITY_DIRECTION


@dataclasses.dataclass(frozen=True, eq=False)
class Volume:
    """A 3-D array (z, y, x) with its geometry.

    Raises:
      InputError: the array is not 3-D, a spacing is not positive or the direction is not orthonormal.
    """

    array: np.ndarray
    geometry: Geometry

    def __post_init__(self):
        if self.array.ndim != 3:
            raise InputError("volume", found=f"an array of shape {self.array.shape}", expected="three dimensions")
        spacing = np.asarray(self.geometry.spacing_mm, float)
        if spacing.shape != (3,) or not np.all(np.isfinite(spacing)) or np.any(spacing <= 0):
            raise InputError(
                "volume spacing_mm", found=self.geometry.spacing_mm, expected="three positive lengths in mm"
            )
        axes = np.asarray(self.geometry.direction, float)
        if axes.shape != (9,) or not np.allclose(axes.reshape(3, 3) @ axes.reshape(3, 3).T, np.eye(3), atol=1e-4):
            raise InputError(
                "volume direction", found=self.geometry.direction, expected="nine numbers of an orthonormal matrix"
            )

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Return the distance between voxel centres along (x, y, z)."""
        return self.geometry.spacing_mm

    @property
    def field_of_view_mm(self) -> tuple[float, float, float]:
        """Return the edge lengths (x, y, z) of the whole grid, voxel borders included."""
        x, y, z = (n * s for n, s in zip(self.array.shape[::-1], self.geometry.spacing_mm, strict=True))
        return (x, y, z)

    @property
    def middle_mm(self) -> tuple[float, float, float]:
        """Return the place (x, y, z) in the patient of the middle of the grid."""
        axes = np.reshape(self.geometry.direction, (3, 3))
        half_mm = (np.array(self.array.shape[::-1]) - 1) / 2 * self.geometry.spacing_mm
        x, y, z = (np.array(self.geometry.origin_mm) + axes @ half_mm).tolist()
        return x, y, z

    @property
    def nonzero_ml(self) -> float:
        """Return the volume of all voxels that are not 0, such as those of a mask."""
        return float(np.count_nonzero(self.array)) * float(np.prod(self.geometry.spacing_mm)) / 1000.0

    def with_array(self, array: np.ndarray) -> Volume:
        """Return a volume of another array, of the same shape, in the same place."""
        if array.shape != self.array.shape:
            raise InputError("array", found=f"shape {array.shape}", expected=f"shape {self.array.shape}")
        return Volume(array, self.geometry)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A scan: its CT in HU and, where it is annotated, the region ids 0..7 on the same grid."""

    identity: str
    image: Volume
    label: Volume | None = None
