"""The voxel grid on which shapes are voxelized."""

from __future__ import annotations

import dataclasses

import numpy as np

from fedsim_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class Grid:
    """An axis-aligned grid of voxels.

    Attributes:
      shape: number of voxels along (z, y, x).
      spacing_mm: voxel size along (x, y, z).
      origin_mm: centre of the first voxel, (x, y, z).
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]

    def __post_init__(self):
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise InputError("grid shape", found=self.shape, expected="three positive numbers of voxels")
        if len(self.spacing_mm) != 3 or not min(self.spacing_mm) > 0:
            raise InputError("grid spacing_mm", found=self.spacing_mm, expected="three positive lengths in mm")
        if len(self.origin_mm) != 3 or not np.all(np.isfinite(self.origin_mm)):
            raise InputError("grid origin_mm", found=self.origin_mm, expected="three finite coordinates in mm")

    @classmethod
    def centred(cls, shape: tuple[int, int, int], field_of_view_mm: tuple[float, float, float]) -> Grid:
        """Return a grid of `shape` (z, y, x) voxels that fills a field of view (x, y, z) around the origin."""
        counts = np.array(shape[::-1], float)
        spacing = np.asarray(field_of_view_mm, float) / counts
        origin = -(counts - 1) / 2 * spacing
        return cls(shape, tuple(spacing.tolist()), tuple(origin.tolist()))

    def voxel_coordinates(self, points_mm: np.ndarray) -> np.ndarray:
        """Return continuous voxel indices (x, y, z) of points (..., 3) in mm; voxel k covers [k - 0.5, k + 0.5]."""
        return (points_mm - np.asarray(self.origin_mm, np.float32)) / np.asarray(self.spacing_mm, np.float32)
