"""Points in the patient as indices of a grid, and masks of a smaller grid pasted into a larger one."""

from __future__ import annotations

import os

import numpy as np

from fedsim_tf.data.headers import GRID_TOLERANCE_VOXELS, corner_indices
from fedsim_tf.errors import InputError
from fedsim_tf.volume import Geometry, Volume


def find_indices(points_mm: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return the indices (n, 3), fractions too, in the order x, y, z, of points (n, 3) in mm."""
    axes = np.reshape(geometry.direction, (3, 3))
    return (np.asarray(points_mm, float) - geometry.origin_mm) @ axes / geometry.spacing_mm


def find_places_mm(indices: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return the points (n, 3) in mm of indices (n, 3) in the order x, y, z."""
    axes = np.reshape(geometry.direction, (3, 3))
    return np.asarray(geometry.origin_mm) + (np.asarray(indices, float) * geometry.spacing_mm) @ axes.T


def paste_on_grid(mask: Volume, image: Volume, subject: str | os.PathLike) -> np.ndarray:
    """Return a mask (z, y, x) on an image's grid, of which its own grid is a part or which it overlaps.

    Raises:
      InputError: voxels of another size, direction or place, or a mask that reaches beyond the image.
    """
    corners = corner_indices(mask.array.shape[::-1])
    found = find_indices(find_places_mm(corners, mask.geometry), image.geometry)
    first = np.round(found[0])
    if np.abs(found - corners - first).max() > GRID_TOLERANCE_VOXELS:
        raise InputError(subject, found="voxels of another size, direction or place", expected="the grid of its image")
    return place_block(mask.array, tuple(first[::-1].astype(int)), image.array.shape, subject)


def place_block(block: np.ndarray, start: tuple[int, ...], shape: tuple[int, ...], subject: str | os.PathLike):
    """Return an array of zeros with `block` at an index; the block may reach beyond it with zeros alone.

    Raises:
      InputError: a voxel of the block that is not 0 lies beyond the array.
    """
    whole = np.zeros(shape, block.dtype)
    into, out = [], []
    for at, size, room in zip(start, block.shape, shape, strict=True):
        low, high = max(0, at), max(0, min(room, at + size))
        into.append(slice(low, max(low, high)))
        out.append(slice(low - at, max(low, high) - at))
    whole[tuple(into)] = block[tuple(out)]
    if np.count_nonzero(whole) != np.count_nonzero(block):
        raise InputError(subject, found="a mask that reaches beyond its image", expected="a mask within the image")
    return whole
