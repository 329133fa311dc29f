"""Measure how well a mask agrees with the true one, through SimpleITK and DeepMind's surface-distance."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np
import SimpleITK as sitk
import surface_distance

from fedsim_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How well a mask agrees with the true one.

    Attributes:
      dice, iou: overlap in percent; 100 where both masks are empty.
      hd95_mm: 95th percentile of the distances in mm between the two surfaces, the larger one of both directions.
      surface_mm: mean of these distances over both surfaces. A distance leads to the nearest voxel of the other
        surface, which makes means up to half a voxel too short. Both distances are 0 where both masks are empty, and
        the volume's diagonal where one is.
      volume_error: |difference of the volumes| in percent of the true one; 0 where both masks are empty, 100 where the
        true one is.
    """

    dice: float
    iou: float
    hd95_mm: float
    surface_mm: float
    volume_error: float


MEASURES = tuple(field.name for field in dataclasses.fields(Agreement))


def compare_masks(found: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, float, float]) -> Agreement:
    """Return every measure of the agreement of a mask with the true one.

    Args:
      found, truth: masks (z, y, x), set where above one half.
      spacing_mm: voxel size (x, y, z).

    Raises:
      InputError: masks of different shapes.
    """
    found, truth = _binarize(found, truth)
    hd95_mm, surface_mm = _surface_distances(found, truth, spacing_mm[::-1])
    return Agreement(dice(found, truth), iou(found, truth), hd95_mm, surface_mm, _volume_error(found, truth))


def mean_agreement(each: Collection[Agreement]) -> Agreement:
    """Return the mean of each measure."""
    return Agreement(**{name: float(np.mean([getattr(one, name) for one in each])) for name in MEASURES})


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    """Return 2 |A and B| / (|A| + |B|) in percent; 100 where both masks are empty."""
    return _overlap(found, truth, "GetDiceCoefficient")


def iou(found: np.ndarray, truth: np.ndarray) -> float:
    """Return |A and B| / |A or B| in percent; 100 where both masks are empty."""
    return _overlap(found, truth, "GetJaccardCoefficient")


def _overlap(found: np.ndarray, truth: np.ndarray, measure: str) -> float:
    masks = _binarize(found, truth)
    if not any(mask.any() for mask in masks):
        return 100.0
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*(sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in masks))
    return 100.0 * getattr(overlap, measure)()


def _surface_distances(found: np.ndarray, truth: np.ndarray, spacing_zyx: tuple[float, ...]) -> tuple[float, float]:
    """Return the 95th percentile and the mean of the surface distances in mm."""
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


def _binarize(found: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if found.shape != truth.shape:
        raise InputError("mask", found=f"shape {found.shape}", expected=f"shape {truth.shape}")
    return found > 0.5, truth > 0.5
