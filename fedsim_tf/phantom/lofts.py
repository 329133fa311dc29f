"""Closed surfaces lofted through rings: every subject has the same faces, with other points."""

from __future__ import annotations

import numpy as np


def loft(start: np.ndarray, rings: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return points (R N + 2, 3) of a closed surface: pole `start`, rings (R, N, 3), pole `end`."""
    return np.concatenate([start[None], rings.reshape(-1, 3), end[None]])


def loft_faces(n_rings: int, n_points: int) -> np.ndarray:
    """Return the triangles (2 R N, 3) of `loft`; they face outwards if rings turn counter-clockwise seen from `end`."""
    ring = np.arange(n_points)
    following = np.roll(ring, -1)
    first, last, end = 1, 1 + (n_rings - 1) * n_points, 1 + n_rings * n_points
    start_cap = np.stack([np.zeros(n_points, int), first + following, first + ring], axis=1)
    end_cap = np.stack([np.full(n_points, end), last + ring, last + following], axis=1)
    sides = []
    for number in range(n_rings - 1):
        here, there = first + number * n_points, first + (number + 1) * n_points
        sides.append(np.stack([here + ring, here + following, there + following], axis=1))
        sides.append(np.stack([here + ring, there + following, there + ring], axis=1))
    return np.concatenate([start_cap, *sides, end_cap])


def tube(path: np.ndarray, radii: np.ndarray, n_points: int) -> np.ndarray:
    """Return the points of a loft with `n_points` on each of the round rings of `radii` (R,) around a `path` (R, 3)."""
    tangents = np.gradient(path, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    side = np.cross(tangents, _least_parallel(tangents.mean(axis=0)))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    turns = 2 * np.pi * np.arange(n_points) / n_points
    circle = np.cos(turns)[:, None] * side[:, None] + np.sin(turns)[:, None] * np.cross(tangents, side)[:, None]
    return loft(path[0], path[:, None] + radii[:, None, None] * circle, path[-1])


def bezier(points: np.ndarray, n: int) -> np.ndarray:
    """Return n points (n, 3) on the quadratic Bezier curve with control points (3, 3)."""
    u = np.linspace(0.0, 1.0, n)[:, None]
    return (1 - u) ** 2 * points[0] + 2 * u * (1 - u) * points[1] + u**2 * points[2]


def _least_parallel(direction: np.ndarray) -> np.ndarray:
    return np.eye(3)[np.argmin(np.abs(direction))]
