"""Measure whether synthetic volumes are new, or repeat those that the model has learnt from."""

from __future__ import annotations

import numpy as np

from fedsim_tf.records.likeness_record import Novelty


def measure_novelty(real: np.ndarray, synthetic: np.ndarray, window_hu: tuple[float, float]) -> Novelty:
    """Return root mean square distances over the whole CT in HU, of synthetic and real volumes to the nearest real one.

    A sample that repeats a training volume lies much nearer to it than real volumes lie to one another.

    Args:
      real: images (m, z, y, x) in [-1, 1] that the model has learnt from, m at least 2.
      synthetic: images (n, z, y, x).
      window_hu: CT values that are -1 and 1 in images.
    """
    scale = 0.5 * (window_hu[1] - window_hu[0])
    samples = [min(_distance(one, other) for other in real) for one in synthetic]
    others = [min(_distance(one, other) for j, other in enumerate(real) if j != i) for i, one in enumerate(real)]
    return Novelty(
        sample_to_real_hu=float(scale * np.mean(samples)),
        closest_sample_hu=float(scale * np.min(samples)),
        real_to_real_hu=float(scale * np.mean(others)),
        closest_real_hu=float(scale * np.min(others)),
    )


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(one - other), dtype=np.float64)))
