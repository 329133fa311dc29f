"""Cone-beam geometries matched to a grid."""

from __future__ import annotations

import copy
import math

import numpy as np
from pyronn.ct_reconstruction.geometry.geometry_cone_3d import GeometryCone3D
from pyronn.ct_reconstruction.helpers.trajectories.circular_trajectory import circular_trajectory_3d

from fedsim_tf.errors import InputError

SOURCE_RADII = 4.0  # the source circles at four times the field of view's radius, as in a clinical scanner
MAGNIFICATION = 1.5
PIXELS_PER_VOXEL = 2  # along each edge: 32^2 detectors for 16^3 voxels, 256^2 for 128^3


def slices_beyond(n_slices: int) -> int:
    """How far a body has to go on beyond each end of a grid for no ray that its reconstruction uses to miss it.

    A ray to a corner of the end slice, near the source, has climbed by (s + r) / (s - r) times as much where it leaves
    the circle of radius r on the far side, 2 r / (s - r) times half the grid's height more; the source is at s = 4 r or
    farther.
    """
    return math.ceil(n_slices / (SOURCE_RADII - 1))


def default_views(shape: tuple[int, int, int]) -> int:
    """60 views up to 42 voxels across, then in proportion: 180 at 128."""
    return max(60, math.ceil(max(shape[1:]) * 180 / 128))


def cone_beam_geometry(
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    *,
    n_views: int | None = None,
    pixels_per_voxel: float = PIXELS_PER_VOXEL,
) -> GeometryCone3D:
    """A full circle about z around a grid that is centred on the axis; every view sees the whole grid.

    Args:
      shape: voxels (z, y, x).
      spacing_mm: voxel size (x, y, z).
      n_views: views on the circle; by default matched to the grid.
      pixels_per_voxel: of the detector along each edge.

    Raises:
      InputError: a shape or spacing that is not positive, or fewer than one view.
    """
    n_views = default_views(shape) if n_views is None else n_views
    if len(shape) != 3 or min(shape) < 1:
        raise InputError("shape", found=shape, expected="three positive numbers of voxels")
    if len(spacing_mm) != 3 or not all(math.isfinite(s) and s > 0 for s in spacing_mm):
        raise InputError("spacing_mm", found=spacing_mm, expected="three positive lengths in mm")
    if n_views < 1:
        raise InputError("n_views", found=n_views, expected="at least 1")
    if not (math.isfinite(pixels_per_voxel) and pixels_per_voxel > 0):
        raise InputError("pixels_per_voxel", found=pixels_per_voxel, expected="a positive number")
    half = [n * s / 2 for n, s in zip(shape[::-1], spacing_mm, strict=True)]  # x, y, z
    radius = math.hypot(half[0], half[1])
    source = SOURCE_RADII * max(radius, half[2])
    detector = MAGNIFICATION * source
    rows, columns = (math.ceil(pixels_per_voxel * n) for n in (shape[0], max(shape[1:])))
    half_width = detector * radius / math.sqrt(source**2 - radius**2)  # the ray that touches the circle
    half_height = detector * half[2] / (source - radius)  # the corner closest to the source
    # One pixel to spare at each border, so that interpolation there never meets the detector's end.
    pixel = [2 * half_height / max(rows - 2, 1), 2 * half_width / max(columns - 2, 1)]
    geometry = GeometryCone3D(
        list(shape), list(spacing_mm[::-1]), [rows, columns], pixel, n_views, 2 * np.pi, detector, source
    )
    geometry.set_trajectory(circular_trajectory_3d(geometry))
    return geometry


def lengthened(geometry: GeometryCone3D, slices: int) -> GeometryCone3D:
    """The same scan of a grid that has so many more slices at each end."""
    longer = copy.copy(geometry)
    more = np.array([slices, 0, 0])
    longer.volume_shape = geometry.volume_shape + 2 * more
    longer.volume_origin = geometry.volume_origin - more * geometry.volume_spacing
    return longer
