"""Measure how much the hearts of a set of labels vary in volume, place and orientation, and how much they overlap."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from fedsim_tf.metrics import dice
from fedsim_tf.records.likeness_record import HeartVariety


def measure_hearts(labels: Sequence[np.ndarray], spacing_mm: tuple[float, float, float]) -> HeartVariety | None:
    """Return how much hearts vary; None where fewer than two labels have one.

    Args:
      labels: masks (z, y, x), heart where above one half.
      spacing_mm: voxel size (x, y, z).
    """
    masks = [mask for mask in (np.asarray(label) > 0.5 for label in labels) if mask.any()]
    if len(masks) < 2:
        return None
    volumes_ml = np.array([mask.sum() for mask in masks]) * np.prod(spacing_mm) / 1000.0
    points_mm = [np.argwhere(mask)[:, ::-1] * np.array(spacing_mm) for mask in masks]
    centres_mm = np.array([points.mean(axis=0) for points in points_mm])
    return HeartVariety(
        volume_ml=float(volumes_ml.mean()),
        volume_sd=float(volumes_ml.std(ddof=1) / volumes_ml.mean()),
        place_sd_mm=float(np.sqrt(centres_mm.var(axis=0, ddof=1).sum())),
        axis_sd_degrees=spread_of_axes(np.array([long_axis(points) for points in points_mm])),
        pair_dice=float(np.mean([dice(one, other) for one, other in itertools.combinations(masks, 2)])),
    )


def long_axis(points_mm: np.ndarray) -> np.ndarray:
    """Return the unit vector (3,) along which points (n, 3) spread most; its sign means nothing."""
    centred = points_mm - points_mm.mean(axis=0)
    return np.linalg.eigh(centred.T @ centred)[1][:, -1]


def spread_of_axes(axes: np.ndarray) -> float:
    """Return the root mean square angle in degrees between n unit vectors (n, 3) without a sign and their mean axis.

    The mean axis is the one with the largest mean squared cosine. The mean square is over n - 1.
    """
    mean_axis = np.linalg.eigh(axes.T @ axes)[1][:, -1]
    angles = np.degrees(np.arccos(np.clip(np.abs(axes @ mean_axis), 0.0, 1.0)))
    return float(np.sqrt(np.sum(np.square(angles)) / (len(axes) - 1)))
