"""Distances between points and triangle surfaces, in mm."""

from __future__ import annotations

import numpy as np
import trimesh
from scipy.spatial import cKDTree

_CANDIDATES = 12  # triangles tried for each point; the nearest triangle is nearly always among them
_CHUNK = 50_000


def distances_to_surface(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return the distance (n,) of each point (n, 3) to the nearest triangle of a surface.

    Only the triangles with the nearest centroids are tried, so a distance may rarely be a little too long.

    Args:
      points: (n, 3) in mm.
      vertices: (V, 3) of the surface in mm.
      faces: (F, 3) of the surface.
    """
    triangles = np.asarray(vertices, np.float64)[faces]
    tree = cKDTree(triangles.mean(axis=1))
    count = min(_CANDIDATES, len(faces))
    found = []
    for start in range(0, len(points), _CHUNK):
        chunk = np.asarray(points[start : start + _CHUNK], np.float64)
        near = tree.query(chunk, k=count)[1].reshape(len(chunk), count)
        repeated = np.repeat(chunk, count, axis=0)
        closest = trimesh.triangles.closest_point(triangles[near.ravel()], repeated)
        squared = np.sum((closest - repeated) ** 2, axis=-1).reshape(len(chunk), count)
        found.append(np.sqrt(squared.min(axis=1)))
    return np.concatenate(found)


def mean_surface_distance(
    points: np.ndarray, faces: np.ndarray, other_points: np.ndarray, other_faces: np.ndarray
) -> float:
    """Return the mean distance of each surface's vertices to the other surface, averaged both ways."""
    there = distances_to_surface(points, other_points, other_faces).mean()
    back = distances_to_surface(other_points, points, faces).mean()
    return float(0.5 * (there + back))
