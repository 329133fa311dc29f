"""Moments of latents as arrays that are encrypted and added up."""

from __future__ import annotations

import numpy as np

from fedsim_tf.federated.update import Arrays
from fedsim_tf.models.latents import LatentStatistics

_COUNT, _SUM, _SUM_OUTER = "count", "sum", "sum_outer"


def list_moment_shapes(latent: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays, by name, for latents of a length."""
    return {_COUNT: (1,), _SUM: (latent,), _SUM_OUTER: (latent, latent)}


def moments_to_arrays(moments: LatentStatistics) -> dict[str, np.ndarray]:
    """Return moments as arrays, float32. Their sum over sites has the moments of all latents."""
    values = {_COUNT: np.array([moments.count]), _SUM: moments.sum, _SUM_OUTER: moments.sum_outer}
    return {name: value.astype(np.float32) for name, value in values.items()}


def arrays_to_moments(arrays: Arrays) -> LatentStatistics:
    """Return the moments that arrays hold."""
    total, outer = (arrays[name].astype(np.float64) for name in (_SUM, _SUM_OUTER))
    return LatentStatistics(round(float(arrays[_COUNT][0])), total, outer)
