"""Cone-beam geometries that are matched to a grid of voxels."""

from __future__ import annotations

import copy
import math

import numpy as np

from fedsim_tf.ct.operators import GeometryCone3D, circular_trajectory_3d
from fedsim_tf.errors import InputError

SOURCE_RADII = 4.0  # the source circles at four times the field of view's radius, as in a clinical scanner
MAGNIFICATION = 1.5
PIXELS_PER_VOXEL = 2  # along each edge: a detector of 32^2 pixels for 16^3 voxels, of 256^2 for 128^3


def slices_beyond(n_slices: int) -> int:
    """Return how many slices a body has to go on beyond each end of a grid, so that no ray misses it.

    Only rays that the reconstruction of the grid uses count. A ray through a corner of the end slice, near the source,
    has climbed by (s + r) / (s - r) times as much where it leaves the circle of radius r on the far side. That is
    2 r / (s - r) times half the grid's height more. The source is at s = 4 r or farther.
    """
    return math.ceil(n_slices / (SOURCE_RADII - 1))


def default_views(shape: tuple[int, int, int]) -> int:
    """Return the number of views for a grid: 60 up to 42 voxels across, then in proportion, 180 at 128."""
    return max(60, math.ceil(max(shape[1:]) * 180 / 128))


def cone_beam_geometry(
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    *,
    n_views: int | None = None,
    pixels_per_voxel: float = PIXELS_PER_VOXEL,
) -> GeometryCone3D:
    """Return a full circle of views about z around a grid that is centred on the axis; each sees the whole grid.

    Args:
      shape: voxels (z, y, x).
      spacing_mm: voxel size (x, y, z).
      n_views: views on the circle; by default matched to the grid.
      pixels_per_voxel: detector pixels for each voxel, along each edge.

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
    half_width = detector * radius / math.sqrt(source**2 - radius**2)  # a ray that touches the circle
    half_height = detector * half[2] / (source - radius)  # the corner closest to the source
    # One pixel is spare at each border, so that interpolation there never meets the detector's end.
    pixel = [2 * half_height / max(rows - 2, 1), 2 * half_width / max(columns - 2, 1)]
    geometry = GeometryCone3D(
        volume_shape=list(shape),
        volume_spacing=list(spacing_mm[::-1]),
        detector_shape=[rows, columns],
        detector_spacing=pixel,
        number_of_projections=n_views,
        angular_range=2 * np.pi,
        source_detector_distance=detector,
        source_isocenter_distance=source,
    )
    geometry.set_trajectory(circular_trajectory_3d(geometry))
    return geometry


def lengthen(geometry: GeometryCone3D, slices: int) -> GeometryCone3D:
    """Return the geometry of the same scan for a grid with so many more slices at each end."""
    longer = copy.copy(geometry)
    more = np.array([slices, 0, 0])
    longer.volume_shape = geometry.volume_shape + 2 * more
    longer.volume_origin = geometry.volume_origin - more * geometry.volume_spacing
    return longer
