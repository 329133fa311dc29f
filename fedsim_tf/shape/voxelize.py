"""Voxelization of closed triangle surfaces.

Rows of the grid along x are cut with the surfaces. The part of a row inside their union fills its voxels, so that
partial volume is exact along x, and sampled by `rows_per_voxel` squared rows across. A row that meets an edge or a
vertex is given to exactly one triangle, so every row leaves a closed surface as often as it enters it. Where surfaces
overlap, the volume counts once; parts outside the grid are cut off. Points that are not finite make a volume of NaN.

By region, each point of a row belongs to the last region of `PAINTING_ORDER` around it. Regions are thus painted on
rows, not in voxels: a voxel's fractions do not overlap and add up to the union's, to float32's rounding (within 1e-6).
Painting fractions, o_r times the product of 1 - o_s over later regions s, takes faces within a voxel for unrelated: of
two regions that share a voxel along a common face, halves would add up to three quarters.

Planes are points (..., 3, V) in voxel coordinates, one row for each of x, y and z: voxel k covers [k - 0.5, k + 0.5].
"""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from fedsim_tf.errors import InputError
from fedsim_tf.regions import PAINTING_ORDER, REGION_IDS
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.native import ops

ROWS_PER_VOXEL = 2  # along y and along z: four rows hold volumes within 1 % at 6 mm voxels


@dataclasses.dataclass(frozen=True, eq=False)
class Surfaces:
    """The triangles of closed surfaces and whose volumes they bound.

    Attributes:
      faces: (F, 3) vertex numbers, counter-clockwise seen from outside.
      rank: (F,) int32, when each face's region is painted, from 0.
      channels: the channel of each rank; empty where volumes have no channels and hold the union.
    """

    faces: np.ndarray
    rank: np.ndarray
    channels: tuple[int, ...]

    @classmethod
    def as_one(cls, faces: np.ndarray) -> Surfaces:
        """Return surfaces of which the union is voxelized."""
        return cls(faces, np.zeros(len(faces), np.int32), ())

    @classmethod
    def by_region(cls, faces: np.ndarray, region_id: np.ndarray) -> Surfaces:
        """Return surfaces that are voxelized by region, from the regions (V,) of their vertices.

        Channel r - 1 is that of region r.

        Raises:
          InputError: unknown regions.
        """
        rank = painting_ranks(np.asarray(region_id)[np.asarray(faces)[:, 0]])
        return cls(faces, rank, tuple(region - 1 for region in PAINTING_ORDER))


def occupancy(
    points_mm: tf.Tensor,
    faces: np.ndarray,
    grid: Grid,
    *,
    region_id: np.ndarray | None = None,
    rows_per_voxel: int = ROWS_PER_VOXEL,
) -> tf.Tensor:
    """Return the fraction of each voxel inside the surfaces, their union or by region, differentiable in the points.

    The gradient is the integral of the upstream gradient over the surfaces, see `surface_gradient`.

    Args:
      points_mm: (V, 3), or a batch (M, V, 3), in mm.
      faces: (F, 3) of closed surfaces, counter-clockwise seen from outside.
      grid: the voxels.
      region_id: (V,) region of each vertex, 1..7; without it, the union of all surfaces is voxelized.
      rows_per_voxel: rows that sample each voxel along y and along z.

    Returns:
      (z, y, x) or (M, z, y, x) float32 in [0, 1]; by region (..., z, y, x, 7), where channel r - 1 is that of region r,
      painted in `PAINTING_ORDER`.

    Raises:
      InputError: wrong shapes, faces that name vertices that are not there, or unknown regions.
    """
    points = _check_points(points_mm, faces)
    surfaces = Surfaces.as_one(faces) if region_id is None else Surfaces.by_region(faces, region_id)
    volumes = _occupancy(_to_planes(_as_batch(points), grid), surfaces, grid, rows_per_voxel)
    return volumes if points.shape.rank == 3 else volumes[0]


def label_map(
    points_mm: tf.Tensor,
    faces: np.ndarray,
    region_id: np.ndarray,
    grid: Grid,
    *,
    rows_per_voxel: int = ROWS_PER_VOXEL,
) -> tf.Tensor:
    """Return region ids uint8 of the voxels that the heart fills more than half, see `to_label_map`.

    Args:
      points_mm: (V, 3), or a batch (M, V, 3), in mm.
      faces: (F, 3) of closed surfaces, counter-clockwise seen from outside.
      region_id: (V,) region of each vertex, 1..7.
      grid: the voxels.
      rows_per_voxel: rows that sample each voxel along y and along z.

    Returns:
      (z, y, x) or (M, z, y, x) uint8; 0 outside the heart.

    Raises:
      InputError: wrong shapes, faces that name vertices that are not there, or unknown regions.
    """
    return to_label_map(occupancy(points_mm, faces, grid, region_id=region_id, rows_per_voxel=rows_per_voxel))


def to_label_map(occupancies: tf.Tensor) -> tf.Tensor:
    """Return the id of the region that fills most of each voxel, uint8, and 0 where the heart fills at most half.

    The voxels that get a region are thus those of the heart's own mask.

    Args:
      occupancies: (..., 7) by region.
    """
    largest = tf.cast(tf.argmax(occupancies, axis=-1), tf.uint8) + 1
    return tf.where(tf.reduce_sum(occupancies, axis=-1) > 0.5, largest, tf.zeros_like(largest))


def separate_regions(label_map: tf.Tensor) -> tf.Tensor:
    """Return the seven masks (..., 7) float32, 0 or 1, of region ids of any shape; see `to_label_map`."""
    return tf.one_hot(tf.cast(label_map, tf.int32) - 1, len(REGION_IDS))


def painting_ranks(region: np.ndarray) -> np.ndarray:
    """Return the place of each region (n,) in `PAINTING_ORDER`, int32.

    Raises:
      InputError: unknown regions.
    """
    unknown = sorted(set(np.unique(region).tolist()) - set(PAINTING_ORDER))
    if unknown:
        raise InputError("region_id", found=f"regions {unknown}", expected="regions 1..7")
    place = np.zeros(max(PAINTING_ORDER) + 1, np.int32)
    place[list(PAINTING_ORDER)] = np.arange(len(PAINTING_ORDER))
    return place[region]


def inner_products(volumes: tf.Tensor, planes: tf.Tensor, surfaces: Surfaces, *, rows_per_voxel: int) -> tf.Tensor:
    """Return <volume, occupancy> for P meshes of each volume.

    The products come straight from the volume's running sums, of which no more than one volume (z, y, x) is held at a
    time, and no occupancy is made. Slices of a volume that are all zero are not visited.

    Args:
      volumes: (B, z, y, x), by region (B, z, y, x, 7).
      planes: (B, P, 3, V) in voxel coordinates, see the top of this module.
      surfaces: the meshes' triangles.
      rows_per_voxel: rows that sample each voxel along y and along z.

    Returns:
      (B, P) float64.
    """
    return ops.fedsim_tf_occupancy_products(
        volumes, planes, surfaces.faces, surfaces.rank, channels=surfaces.channels, rows_per_voxel=rows_per_voxel
    )


def surface_gradient(volumes: tf.Tensor, planes: tf.Tensor, surfaces: Surfaces, *, rows_per_voxel: int) -> tf.Tensor:
    """Return d<volume, occupancy>/d planes, the integral of volume * n over the boundary of the surfaces' union.

    By region the boundaries between regions count too, with the difference between the volume's channels of their two
    sides. The integral is evaluated where rows along x, y and z meet the boundary. The three are weighted by the
    squares of the components of the unit normal.

    Args:
      volumes: (B, z, y, x), by region (B, z, y, x, 7).
      planes: (B, 3, V) in voxel coordinates.
      surfaces: the meshes' triangles.
      rows_per_voxel: rows that sample each voxel along y and along z.

    Returns:
      (B, 3, V), per voxel.
    """
    return ops.fedsim_tf_occupancy_gradient(
        volumes, planes, surfaces.faces, surfaces.rank, channels=surfaces.channels, rows_per_voxel=rows_per_voxel
    )


def fill_occupancy(planes: tf.Tensor, surfaces: Surfaces, grid: Grid, *, rows_per_voxel: int) -> tf.Tensor:
    """Return the occupancy (B, z, y, x) of planes (B, 3, V) in voxel coordinates, without a gradient.

    By region it is (B, z, y, x, 7).
    """
    return ops.fedsim_tf_occupancy(
        planes,
        surfaces.faces,
        surfaces.rank,
        channels=surfaces.channels,
        grid_shape=grid.shape,
        rows_per_voxel=rows_per_voxel,
    )


def _occupancy(planes: tf.Tensor, surfaces: Surfaces, grid: Grid, rows_per_voxel: int) -> tf.Tensor:
    @tf.custom_gradient
    def differentiable(planes: tf.Tensor):
        volume = fill_occupancy(planes, surfaces, grid, rows_per_voxel=rows_per_voxel)
        return volume, lambda upstream: surface_gradient(upstream, planes, surfaces, rows_per_voxel=rows_per_voxel)

    return differentiable(planes)


def _to_planes(points_mm: tf.Tensor, grid: Grid) -> tf.Tensor:
    """Return planes (M, 3, V) of points (M, V, 3) in mm."""
    return tf.linalg.matrix_transpose(grid.voxel_coordinates(points_mm))


def _as_batch(points_mm: tf.Tensor) -> tf.Tensor:
    return points_mm if points_mm.shape.rank == 3 else points_mm[None]


def _check_points(points_mm: tf.Tensor, faces: np.ndarray) -> tf.Tensor:
    """Return the points as a float32 tensor; refuse wrong shapes, and faces with vertices that are not there."""
    points_mm = tf.convert_to_tensor(points_mm, tf.float32)
    if points_mm.shape.rank not in (2, 3) or points_mm.shape[-1] != 3:
        raise InputError(
            "points_mm", found=f"shape {points_mm.shape}", expected="(vertices, 3) or (meshes, vertices, 3)"
        )
    faces = np.asarray(faces)
    n_vertices = points_mm.shape[-2]
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise InputError("faces", found=f"shape {faces.shape}", expected="(faces, 3)")
    if n_vertices is not None and faces.size and not 0 <= faces.min() <= faces.max() < n_vertices:
        raise InputError("faces", found=f"vertices {faces.min()}..{faces.max()}", expected=f"0..{n_vertices - 1}")
    return points_mm
