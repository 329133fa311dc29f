"""Scores of a segmentation network on the test part."""

from __future__ import annotations

import dataclasses

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.metrics import compare_masks, mean_agreement
from fedsim_tf.records.fold_scores import ArmScores
from fedsim_tf.training.segmentation import Segmenter
from fedsim_tf.training.volumes import Volumes


def score_segmenter(segment: Segmenter, volumes: Volumes, extents_mm: np.ndarray) -> ArmScores:
    """Return how well a network's masks agree with the true ones, in the mean and for each volume.

    Args:
      segment: the network.
      volumes: the test part.
      extents_mm: (n, 3), each volume's field of view (x, y, z).

    Raises:
      InputError: a true mask is empty; an empty mask of the network would score 100.
    """
    each = {}
    pairs = zip(volumes.identities, volumes.images, volumes.labels, extents_mm, strict=True)
    for identity, image, truth, extent in pairs:
        if not np.any(truth > 0.5):
            raise InputError(identity, found="a true mask without a heart", expected="an annotated heart")
        spacing_mm = tuple((extent / np.array(truth.shape[::-1])).tolist())
        each[identity] = compare_masks(segment(image), truth, spacing_mm)
    mean = mean_agreement(each.values())
    return ArmScores(**dataclasses.asdict(mean), cases=each)
