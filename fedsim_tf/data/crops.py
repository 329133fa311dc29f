"""Boxes cut out of a volume around a place in the patient, and pasted back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from fedsim_tf.data.axis_matrices import make_sampling_matrix, multiply_axes
from fedsim_tf.data.grid_places import find_indices
from fedsim_tf.data.images import read_geometry, volume_to_image
from fedsim_tf.volume import Geometry, Volume

AIR = -1.0  # on the scale of prepared images: what lies beyond a CT


class Crop(NamedTuple):
    """A box in the patient, whose edges run along the axes of the CT that it is taken from.

    Attributes:
      centre_mm: its centre (x, y, z) in the patient.
      edges_mm: the lengths of its edges along the CT's axes, in the order and direction closest to left, back and head.
    """

    centre_mm: tuple[float, float, float]
    edges_mm: tuple[float, float, float]

    @classmethod
    def cube(cls, centre_mm: tuple[float, float, float], edge_mm: float) -> Crop:
        """Return a crop whose edges all have one length."""
        return cls(centre_mm, (edge_mm, edge_mm, edge_mm))


def resample_crop(image: sitk.Image, crop: Crop, size: int, *, nearest: bool) -> sitk.Image:
    """Return the part of an image that lies in a crop, as size x size x size voxels.

    Args:
      image: its axes are those that the crop gets.
      crop: the box.
      size: voxels along each edge.
      nearest: whether to take the nearest voxel (labels; 0 beyond the image) instead of interpolating linearly, after a
        Gaussian where voxels grow (prepared images; air beyond).
    """
    grid = _place_crop(image, crop, size)
    return resample_aligned(image, grid, (size, size, size), nearest=nearest, beyond=0.0 if nearest else AIR)


def resample_aligned(
    image: sitk.Image, grid: Geometry, size: tuple[int, int, int], *, nearest: bool, beyond: float
) -> sitk.Image:
    """Return an image on a grid whose axes run along the image's own.

    Args:
      image: what is resampled.
      grid: where the new voxels lie.
      size: how many there are (x, y, z).
      nearest: whether to take the nearest voxel instead of interpolating linearly, after a Gaussian where voxels grow.
      beyond: the value outside the image.
    """
    if nearest:
        return _resample_onto(image, grid, size, nearest=True, beyond=beyond)
    geometry = read_geometry(image)
    first = find_indices(np.array([grid.origin_mm]), geometry)[0]
    steps = np.array(grid.spacing_mm) / geometry.spacing_mm
    matrices = {
        2 - axis: make_sampling_matrix(n, first[axis] + np.arange(size[axis]) * steps[axis], float(steps[axis]))
        for axis, n in enumerate(image.GetSize())
    }
    # Rows beyond the image are 0, so that their value has to be 0 while they are applied.
    array = multiply_axes(sitk.GetArrayViewFromImage(image) - np.float32(beyond), matrices) + np.float32(beyond)
    return volume_to_image(Volume(array, grid))


def paste_crop(cube: sitk.Image, target: sitk.Image, *, nearest: bool) -> sitk.Image:
    """Return a cube on the grid of the image that it was taken from: 0 beyond it where `nearest`, else air."""
    beyond = 0.0 if nearest else AIR
    return _resample_onto(cube, read_geometry(target), target.GetSize(), nearest=nearest, beyond=beyond)


def _place_crop(image: sitk.Image, crop: Crop, size: int) -> Geometry:
    spacing = np.array(crop.edges_mm) / size
    axes = np.reshape(image.GetDirection(), (3, 3))
    x, y, z = (np.array(crop.centre_mm) - axes @ ((size - 1) / 2 * spacing)).tolist()
    return Geometry(tuple(spacing.tolist()), (x, y, z), image.GetDirection())


def _resample_onto(
    image: sitk.Image, grid: Geometry, size: tuple[int, ...], *, nearest: bool, beyond: float
) -> sitk.Image:
    return sitk.Resample(
        image,
        [int(n) for n in size],
        sitk.Transform(),
        sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear,
        grid.origin_mm,
        grid.spacing_mm,
        grid.direction,
        beyond,
        image.GetPixelID(),
    )
