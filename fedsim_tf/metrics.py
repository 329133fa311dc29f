"""Overlap of two masks, in percent."""

from __future__ import annotations

import numpy as np

from fedsim_tf.errors import InputError


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|) in percent; 100 where both masks are empty."""
    both, total = _overlap(found, truth)
    return 100.0 * 2.0 * both / total if total else 100.0


def iou(found: np.ndarray, truth: np.ndarray) -> float:
    """|A and B| / |A or B| in percent; 100 where both masks are empty."""
    both, total = _overlap(found, truth)
    return 100.0 * both / (total - both) if total else 100.0


def _overlap(found: np.ndarray, truth: np.ndarray) -> tuple[int, int]:
    """Voxels in both masks, and the sum of the voxels of each."""
    if found.shape != truth.shape:
        raise InputError("mask", found=f"shape {found.shape}", expected=f"shape {truth.shape}")
    found, truth = found > 0.5, truth > 0.5
    return int(np.sum(found & truth)), int(found.sum()) + int(truth.sum())
