"""Measure synthetic volumes and their site's real ones in the same way, and compare what was measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from fedsim_tf.data.preprocess import hu_from_unit
from fedsim_tf.evaluation.differences import mean_differences, sum_differences
from fedsim_tf.evaluation.heart_variety import measure_hearts
from fedsim_tf.evaluation.kernel_distance import PlaneFeatures, average_features, compare_features
from fedsim_tf.evaluation.novelty import measure_novelty
from fedsim_tf.evaluation.tissues import PLACES, TISSUES, TissueValues, compare_tissues, region_masks, tissue_masks
from fedsim_tf.models.vgg import VGG19Features
from fedsim_tf.records.likeness_record import (
    DifferenceComparison,
    Differences,
    HeartComparison,
    HeartVariety,
    Likeness,
)
from fedsim_tf.training.volumes import Volumes


@dataclasses.dataclass(frozen=True, eq=False)
class MeasuredVolumes:
    """What is measured of a set of volumes without looking at another.

    Attributes:
      annotated: the volumes with labels, of which everything is measured but the features.
      images: (n, z, y, x) in [-1, 1], all volumes, annotated or not.
      values_hu: CT values by tissue; regions of the heart are tissues too, where labels have some.
      differences: between neighbouring voxels, by where these lie; places that no volume has are left out.
      hearts: None where fewer than two labels have one.
      features: VGG features of all volumes.
    """

    annotated: Volumes
    images: np.ndarray
    values_hu: TissueValues
    differences: Mapping[str, Differences]
    hearts: HeartVariety | None
    features: PlaneFeatures


def measure_volumes(
    annotated: Volumes,
    images: np.ndarray,
    *,
    vgg: VGG19Features,
    window_hu: tuple[float, float],
    field_of_view_mm: tuple[float, float, float],
) -> MeasuredVolumes:
    """Return the measures of a set of volumes.

    Args:
      annotated: the volumes with labels.
      images: (n, z, y, x) in [-1, 1], all volumes, annotated or not.
      vgg: the features.
      window_hu: CT values that are -1 and 1 in images.
      field_of_view_mm: extent (x, y, z) of each volume.
    """
    values_hu: dict[str, list[np.ndarray]] = {tissue: [] for tissue in TISSUES}
    sums: dict[str, list[np.ndarray]] = {place: [] for place in PLACES}
    for number, (image, label) in enumerate(zip(annotated.images, annotated.labels, strict=True)):
        image_hu = hu_from_unit(image, window_hu)
        masks = tissue_masks(image_hu, label)
        for place, found in sums.items():
            found.append(sum_differences(image_hu, masks[place]))
        regions = None if annotated.regions is None else annotated.regions[number]
        for tissue, mask in {**masks, **region_masks(regions)}.items():
            if tissue != "body" and mask.any():
                values_hu.setdefault(tissue, []).append(image_hu[mask])
    differences = {place: mean_differences(np.sum(found, axis=0)) for place, found in sums.items()}
    z, y, x = images.shape[1:]
    spacing_mm = tuple(extent / edge for extent, edge in zip(field_of_view_mm, (x, y, z), strict=True))
    return MeasuredVolumes(
        annotated,
        images,
        values_hu,
        {place: found for place, found in differences.items() if found is not None},
        measure_hearts(annotated.labels, spacing_mm),  # type: ignore[arg-type]
        average_features(vgg, images),
    )


def compare_volumes(real: MeasuredVolumes, synthetic: MeasuredVolumes, *, window_hu: tuple[float, float]) -> Likeness:
    """Return every measure of real and synthetic volumes that their images and labels alone give.

    Args:
      real: the site's training part; at least two volumes.
      synthetic: an arm's samples.
      window_hu: CT values that are -1 and 1 in images.
    """
    return Likeness(
        tissues=compare_tissues(real.values_hu, synthetic.values_hu),
        differences={
            place: DifferenceComparison(one, synthetic.differences[place])
            for place, one in real.differences.items()
            if place in synthetic.differences
        },
        hearts=HeartComparison(real.hearts, synthetic.hearts) if real.hearts and synthetic.hearts else None,
        novelty=measure_novelty(real.images, synthetic.images, window_hu),
        planes=compare_features(real.features, synthetic.features),
    )
