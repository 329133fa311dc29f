"""Similarity transforms from weighted points and normals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fedsim_tf.shape.registration.mixture import Statistics


class Similarity(NamedTuple):
    """The similarity transform of x to scale * R x + translation: rotation R (3, 3), translation (3,) in mm."""

    scale: float
    rotation: np.ndarray
    translation: np.ndarray

    def move_points(self, points: np.ndarray) -> np.ndarray:
        """Return points (n, 3) where the transform brings them."""
        return self.scale * points @ self.rotation.T + self.translation

    def turn_normals(self, normals: np.ndarray) -> np.ndarray:
        """Return normals (n, 3) as the transform turns them."""
        return normals @ self.rotation.T

    def undo(self, points: np.ndarray) -> np.ndarray:
        """Return points (n, 3) from which `move_points` makes the given ones."""
        return (points - self.translation) @ self.rotation / self.scale

    def compose(self, first: Similarity) -> Similarity:
        """Return the transform that does `first` and then this one."""
        return Similarity(
            self.scale * first.scale,
            self.rotation @ first.rotation,
            self.scale * self.rotation @ first.translation + self.translation,
        )


def fit_points(moving: np.ndarray, fixed: np.ndarray, weights: np.ndarray | None = None) -> Similarity:
    """Return the transform that brings `moving` (n, 3) nearest to `fixed` (n, 3) in least squares (Umeyama 1991).

    Args:
      moving: points to move.
      fixed: where they should come.
      weights: (n,) of the squares; None for equal ones.
    """
    weights = np.ones(len(moving)) if weights is None else weights
    weights = weights / weights.sum()
    from_centre, to_centre = weights @ moving, weights @ fixed
    x, y = moving - from_centre, fixed - to_centre
    cross = (weights[:, None] * y).T @ x
    rotation = nearest_rotation(cross)
    scale = float(np.sum(rotation * cross) / (weights @ np.sum(x**2, axis=1)))
    return Similarity(scale, rotation, to_centre - scale * rotation @ from_centre)


def fit_statistics(
    statistics: Statistics, points: np.ndarray, normals: np.ndarray, *, sigma: float, kappa: float
) -> Similarity:
    """Return the transform of the M-step, to apply after the present one (in whose frame the statistics are).

    It maximises -sum P u |mu - (s R x + t)|^2 / (2 sigma^2) + kappa sum P m . R n over rotation R, scale s and
    translation t: R with the scale as it is now, then the scale from R.

    Args:
      statistics: sums over a subject's points.
      points: (M, 3) centres of the components.
      normals: (M, 3) normals of the components.
      sigma: spread of the mixture in mm.
      kappa: concentration of the normals.
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
    """Return the proper rotation R with the largest trace(R^T cross) (Kabsch 1976)."""
    left, _, right = np.linalg.svd(cross)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    return (left * signs) @ right
