"""Scores of a segmentation network on the test part, and their summary over folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedsim_tf.metrics import Agreement, agreement
from fedsim_tf.training.segmentation import Segmenter
from fedsim_tf.training.volumes import Volumes

Scores = dict[str, Any]


def score(segment: Segmenter, volumes: Volumes, extents_mm: np.ndarray) -> Scores:
    """Every measure of `metrics.Agreement`: the mean over the volumes, and each volume's own.

    Args:
      segment: the network.
      volumes: the test part.
      extents_mm: (n, 3), each volume's field of view (x, y, z).
    """
    each = {}
    cases = zip(volumes.identities, volumes.images, volumes.labels, extents_mm, strict=True)
    for identity, image, truth, extent in cases:
        spacing_mm = tuple((extent / np.array(truth.shape[::-1])).tolist())
        each[identity] = agreement(segment(image), truth, spacing_mm)._asdict()
    means = {name: float(np.mean([one[name] for one in each.values()])) for name in Agreement._fields}
    return {**means, "cases": each}


def with_likeness(scores: Scores, likeness: Mapping[str, Any] | None) -> Scores:
    """Scores with what was found of the arm's synthetic data; the same where it has none."""
    return scores if likeness is None else {**scores, "likeness": dict(likeness)}


def over_folds(folds: Sequence[Mapping[str, Scores]]) -> dict[str, dict[str, float]]:
    """Mean and (with two folds or more) standard deviation over folds of each arm's scores."""
    summary = {}
    for arm in folds[0]:
        row: dict[str, float] = {"folds": len(folds)}
        for name in Agreement._fields:
            values = [fold[arm][name] for fold in folds]
            row[name] = float(np.mean(values))
            if len(values) > 1:
                row[f"{name}_std"] = float(np.std(values, ddof=1))
        summary[arm] = row
    return summary
