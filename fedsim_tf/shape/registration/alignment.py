"""Similarity transforms from weighted points and normals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fedsim_tf.shape.registration.mixture import Statistics


class Similarity(NamedTuple):
    """x to scale * R x + translation; rotation R (3, 3), translation (3,) in mm."""

    scale: float
    rotation: np.ndarray
    translation: np.ndarray

    def points(self, points: np.ndarray) -> np.ndarray:
        """Moves points (n, 3)."""
        return self.scale * points @ self.rotation.T + self.translation

    def normals(self, normals: np.ndarray) -> np.ndarray:
        """Turns normals (n, 3)."""
        return normals @ self.rotation.T

    def undo(self, points: np.ndarray) -> np.ndarray:
        """The inverse of `points`."""
        return (points - self.translation) @ self.rotation / self.scale

    def after(self, first: Similarity) -> Similarity:
        """This transform after another one."""
        return Similarity(
            self.scale * first.scale,
            self.rotation @ first.rotation,
            self.scale * self.rotation @ first.translation + self.translation,
        )


def from_points(moving: np.ndarray, fixed: np.ndarray, weights: np.ndarray | None = None) -> Similarity:
    """The similarity that brings `moving` (n, 3) nearest to `fixed` (n, 3) in weighted least squares (Umeyama 1991)."""
    weights = np.ones(len(moving)) if weights is None else weights
    weights = weights / weights.sum()
    from_centre, to_centre = weights @ moving, weights @ fixed
    x, y = moving - from_centre, fixed - to_centre
    cross = (weights[:, None] * y).T @ x
    rotation = nearest_rotation(cross)
    scale = float(np.sum(rotation * cross) / (weights @ np.sum(x**2, axis=1)))
    return Similarity(scale, rotation, to_centre - scale * rotation @ from_centre)


def from_statistics(statistics: Statistics, points: np.ndarray, normals: np.ndarray, sigma: float, kappa: float):
    """M-step of a subject's similarity, from statistics in the frame in which it is now.

    Maximises -sum P u |mu - (s R x + t)|^2 / (2 sigma^2) + kappa sum P m . R n over rotation R, scale s and
    translation t; R with the scale as it is now, the scale then from R.

    Args:
      points, normals: the components' (M, 3).

    Returns:
      A `Similarity` to apply after the present one.
    """
    total = statistics.weight.sum()
    from_centre = statistics.position.sum(axis=0) / total
    to_centre = statistics.weight @ points / total
    centred = points - to_centre
    cross = centred.T @ statistics.position  # sum P u (mu - mu_0) x^T; x_0 drops out as mu is centred
    rotation = nearest_rotation(cross / sigma**2 + kappa * normals.T @ statistics.normal)
    spread = statistics.squares - total * from_centre @ from_centre
    scale = float(np.sum(rotation * cross) / spread)
    return Similarity(scale, rotation, to_centre - scale * rotation @ from_centre)


def nearest_rotation(cross: np.ndarray) -> np.ndarray:
    """The proper rotation R with the largest trace(R^T cross) (Kabsch 1976)."""
    left, _, right = np.linalg.svd(cross)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    return (left * signs) @ right
