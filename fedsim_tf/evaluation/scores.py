"""Scores of a segmentation network on the test part."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.metrics import Agreement, annotated_regions, compare_masks, compare_regions, dice, mean_agreement
from fedsim_tf.records.fold_scores import ArmScores, CaseScores, RegionScores
from fedsim_tf.regions import REGIONS, is_whole_heart
from fedsim_tf.training.segmentation import Segmenter
from fedsim_tf.training.volumes import Volumes


def score_segmenter(segment: Segmenter, volumes: Volumes, extents_mm: np.ndarray) -> ArmScores:
    """Return how well a network's masks agree with the true ones, in the mean and for each volume.

    The heart as a whole is what is not background. Where volumes have regions, those are scored too: each region over
    the volumes in which the true label or the mask has it. A region that neither has, such as the left atrium of a
    child whose scan ends below it, is left out of the mean; one that the network invents, or misses, has a Dice of 0
    there and distances of the volume's diagonal. A region that no volume's true label has is not scored at all, nor are
    regions in volumes whose label is a heart as a whole.

    Args:
      segment: the network, which gives region ids where volumes have regions.
      volumes: the test part.
      extents_mm: (n, 3), each volume's field of view (x, y, z).

    Raises:
      InputError: a true mask is empty; an empty mask of the network would score 100.
    """
    each: dict[str, CaseScores] = {}
    by_region: dict[str, dict[int, Agreement]] = {}
    regions = () if volumes.regions is None else annotated_regions(volumes.regions)
    rows = zip(volumes.identities, volumes.images, volumes.labels, extents_mm, strict=True)
    for number, (identity, image, truth, extent) in enumerate(rows):
        if not np.any(truth > 0.5):
            raise InputError(identity, found="a true mask without a heart", expected="an annotated heart")
        spacing_mm = tuple((extent / np.array(truth.shape[::-1])).tolist())
        found = segment(image)
        agreement = compare_masks(found, truth, spacing_mm)
        found_ml, true_ml = (_measure_ml(mask, extent) for mask in (found, truth))
        each[identity] = CaseScores(**dataclasses.asdict(agreement), found_ml=found_ml, true_ml=true_ml)
        if volumes.regions is not None and not is_whole_heart(volumes.regions[number]):
            by_region[identity] = compare_regions(found, volumes.regions[number], spacing_mm, regions=regions)
    mean = mean_agreement(each.values())
    return ArmScores(**dataclasses.asdict(mean), cases=each, regions=_by_region(by_region, regions) or None)


def _measure_ml(mask: np.ndarray, extent_mm: np.ndarray) -> float:
    """Return the volume of a mask in ml, given the field of view (x, y, z) that its grid spans."""
    return float(np.mean(mask > 0.5) * np.prod(extent_mm) / 1000.0)


def score_on_own_labels(segment: Segmenter, volumes: Volumes) -> float:
    """Return the mean Dice in percent of a network's hearts on synthetic volumes against the labels they came with."""
    pairs = zip(volumes.images, volumes.labels, strict=True)
    return float(np.mean([dice(segment(image), label) for image, label in pairs]))


def _by_region(each: Mapping[str, Mapping[int, Agreement]], regions: Sequence[int]) -> dict[str, RegionScores]:
    """Return the scores by short name from the agreement of each volume by region id."""
    found = {}
    for region in regions:
        cases = {identity: one[region] for identity, one in each.items() if region in one}
        mean = mean_agreement(cases.values())
        found[REGIONS[region].short_name] = RegionScores(**dataclasses.asdict(mean), cases=cases)
    return found
