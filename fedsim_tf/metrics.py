"""How well a mask agrees with the true one, through SimpleITK and DeepMind's surface-distance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
import surface_distance

from fedsim_tf.errors import InputError


class Agreement(NamedTuple):
    """Of one mask with the true one.

    Attributes:
      dice, iou: overlap in percent; 100 where both masks are empty.
      hd95_mm: 95th percentile of the distances between the surfaces, the larger of both directions; surface_mm: their
        mean over both surfaces. They lead to the nearest voxel of the other surface, which makes means up to half a
        voxel too short. 0 where both masks are empty, the volume's diagonal where one is.
      volume_error: |difference of the volumes| in percent of the true one; 0 where both are empty, 100 where the true
        one is.
    """

    dice: float
    iou: float
    hd95_mm: float
    surface_mm: float
    volume_error: float


def agreement(found: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, float, float]) -> Agreement:
    """All of it.

    Args:
      found, truth: masks (z, y, x), set where above one half.
      spacing_mm: voxel size (x, y, z).

    Raises:
      InputError: masks of different shapes.
    """
    found, truth = _masks(found, truth)
    hd95_mm, surface_mm = _surface_distances(found, truth, spacing_mm[::-1])
    return Agreement(dice(found, truth), iou(found, truth), hd95_mm, surface_mm, _volume_error(found, truth))


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|) in percent; 100 where both masks are empty."""
    return _overlap(found, truth, "GetDiceCoefficient")


def iou(found: np.ndarray, truth: np.ndarray) -> float:
    """|A and B| / |A or B| in percent; 100 where both masks are empty."""
    return _overlap(found, truth, "GetJaccardCoefficient")


def _overlap(found: np.ndarray, truth: np.ndarray, measure: str) -> float:
    masks = _masks(found, truth)
    if not any(mask.any() for mask in masks):
        return 100.0
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*(sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in masks))
    return 100.0 * getattr(overlap, measure)()


def _surface_distances(found: np.ndarray, truth: np.ndarray, spacing_zyx: tuple[float, ...]) -> tuple[float, float]:
    if not found.any() and not truth.any():
        return 0.0, 0.0
    if not found.any() or not truth.any():
        return (float(np.linalg.norm(np.multiply(truth.shape, spacing_zyx))),) * 2
    distances = surface_distance.compute_surface_distances(truth, found, spacing_zyx)
    there, back = (distances[key] for key in ("distances_gt_to_pred", "distances_pred_to_gt"))
    areas_there, areas_back = (distances[key] for key in ("surfel_areas_gt", "surfel_areas_pred"))
    total = np.sum(there * areas_there) + np.sum(back * areas_back)
    mean = total / (np.sum(areas_there) + np.sum(areas_back))
    return float(surface_distance.compute_robust_hausdorff(distances, 95)), float(mean)


def _volume_error(found: np.ndarray, truth: np.ndarray) -> float:
    if not truth.any():
        return 100.0 * bool(found.any())
    return 100.0 * abs(int(found.sum()) - int(truth.sum())) / int(truth.sum())


def _masks(found: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if found.shape != truth.shape:
        raise InputError("mask", found=f"shape {found.shape}", expected=f"shape {truth.shape}")
    return found > 0.5, truth > 0.5
