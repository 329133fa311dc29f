"""Measure how well a mask agrees with the true one, through SimpleITK and DeepMind's surface-distance."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator

import numpy as np
import SimpleITK as sitk
import surface_distance

from fedsim_tf.errors import InputError
from fedsim_tf.regions import BACKGROUND, is_whole_heart


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


def compare_regions(
    found: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, float, float], *, regions: Iterable[int]
) -> dict[int, Agreement]:
    """Return every measure of the agreement of each region's mask with the true one, by region id.

    A region that neither of the two has is left out: there is nothing to agree on. One that only one of the two has is
    a missing or an invented region, which `compare_masks` gives an overlap of 0 and distances of the volume's diagonal.

    Args:
      found, truth: region ids (z, y, x).
      spacing_mm: voxel size (x, y, z).
      regions: those that count, see `annotated_regions`.

    Raises:
      InputError: label maps of different shapes.
    """
    return {
        region: compare_masks(one, other, spacing_mm) for region, one, other in _region_masks(found, truth, regions)
    }


def mean_region_dice(found: np.ndarray, truth: np.ndarray, *, regions: Iterable[int]) -> float:
    """Return the mean of `region_dice`."""
    return float(np.mean(list(region_dice(found, truth, regions=regions).values())))


def region_dice(found: np.ndarray, truth: np.ndarray, *, regions: Iterable[int]) -> dict[int, float]:
    """Return the Dice in percent of each region, by region id; see `compare_regions`."""
    return {region: dice(one, other) for region, one, other in _region_masks(found, truth, regions)}


def annotated_regions(truths: np.ndarray) -> tuple[int, ...]:
    """Return the ids of the regions that at least one true label has, ascending.

    A region that none has is one that the data set does not annotate, and networks are not scored on it. Hearts as a
    whole have no regions.

    Args:
      truths: region ids (n, z, y, x).
    """
    found = {int(region) for truth in truths if not is_whole_heart(truth) for region in np.unique(truth)}
    return tuple(sorted(found - {BACKGROUND}))


def _region_masks(
    found: np.ndarray, truth: np.ndarray, regions: Iterable[int]
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Give id and both masks of each region that at least one of two label maps has."""
    for region in regions:
        masks = found == region, truth == region
        if any(mask.any() for mask in masks):
            yield region, *masks


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
