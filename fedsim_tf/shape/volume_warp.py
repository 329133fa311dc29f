"""Smooth deformations of a field of view that carry one surface to another with corresponding points."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from scipy import ndimage
from scipy.interpolate import RBFInterpolator

from fedsim_tf.errors import InputError
from fedsim_tf.shape.grid import Grid

POINTS = 200  # of a surface that the deformation is fitted to; shape models' modes are smoother than their distances
NODES = 16  # along each edge of the lattice on which displacements are kept
BORDER_POINTS = 5  # along each edge of each face of the field of view
SMOOTHING_MM = 5.0


@dataclasses.dataclass(frozen=True, eq=False)
class VolumeWarp:
    """A smooth map of a field of view onto itself, whose border stays where it is.

    Attributes:
      displacements: (n, n, n, 3), on a lattice of n^3 cells that fill the field of view: from where, relative to a
        cell, the value comes that is moved there, along (z, y, x) in shares of the field of view.
    """

    displacements: np.ndarray

    @classmethod
    def between(cls, source_mm: np.ndarray, target_mm: np.ndarray, grid: Grid) -> VolumeWarp:
        """Return the deformation that carries points of one surface to the corresponding ones of another.

        Between the points and the border it is interpolated with the kernel |r|, the three-dimensional thin plate.

        Args:
          source_mm, target_mm: corresponding points (V, 3) in mm, in the frame of the grid.
          grid: fills the field of view.

        Raises:
          InputError: other shapes than (V, 3) and (V, 3).
        """
        if source_mm.shape != target_mm.shape or source_mm.ndim != 2 or source_mm.shape[1] != 3:
            found = f"shapes {source_mm.shape} and {target_mm.shape}"
            raise InputError("corresponding points", found=found, expected="(V, 3) and (V, 3)")
        extent_mm = np.array(grid.spacing_mm) * grid.shape[::-1]
        centre_mm = np.array(grid.origin_mm) + (extent_mm - grid.spacing_mm) / 2
        chosen = np.unique(np.linspace(0, len(source_mm) - 1, POINTS).astype(int))
        moved, came_from = target_mm[chosen] - centre_mm, source_mm[chosen] - centre_mm
        border = _border_points() * extent_mm
        interpolate = RBFInterpolator(
            np.concatenate([moved, border]),
            np.concatenate([came_from - moved, np.zeros_like(border)]),
            kernel="linear",
            smoothing=SMOOTHING_MM,
        )
        along = (np.arange(NODES) + 0.5) / NODES - 0.5
        nodes = np.stack(np.meshgrid(along, along, along, indexing="ij"), axis=-1)[..., ::-1]  # (z, y, x) to (x, y, z)
        displacements = interpolate((nodes * extent_mm).reshape(-1, 3)) / extent_mm
        return cls(displacements.reshape(nodes.shape)[..., ::-1])

    def warp(self, volume: np.ndarray, *, nearest: bool = False) -> np.ndarray:
        """Return a volume (z, y, x), of any size, as it is after the deformation.

        Args:
          volume: fills the field of view.
          nearest: whether to take the nearest voxel, as for region ids, instead of interpolating linearly.
        """
        axes = [np.arange(edge) for edge in volume.shape]
        voxels = np.stack(np.meshgrid(*axes, indexing="ij"))
        edges = np.array(volume.shape).reshape(3, 1, 1, 1)
        nodes = (voxels + 0.5) * (len(self.displacements) / edges) - 0.5
        moved = [ndimage.map_coordinates(self.displacements[..., i], nodes, order=1, mode="nearest") for i in range(3)]
        places = voxels + np.stack(moved) * edges
        return ndimage.map_coordinates(volume, places, order=0 if nearest else 1, mode="nearest")


def _border_points() -> np.ndarray:
    """Return points (n, 3) on the faces of the cube [-0.5, 0.5]^3."""
    along = np.linspace(-0.5, 0.5, BORDER_POINTS)
    points = np.array(list(itertools.product(along, repeat=3)))
    return points[np.abs(points).max(axis=1) == 0.5]
