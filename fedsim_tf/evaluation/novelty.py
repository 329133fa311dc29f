"""Measure whether synthetic volumes are new, or repeat those that the model has learnt from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
    return summarize_novelty([find_nearest_hu(one, real, window_hu) for one in synthetic], real, window_hu)


def summarize_novelty(samples_hu: Sequence[float], real: np.ndarray, window_hu: tuple[float, float]) -> Novelty:
    """Return the summary of synthetic volumes' distances to the nearest real one, beside those of real volumes.

    Args:
      samples_hu: see `find_nearest_hu`.
      real, window_hu: see `measure_novelty`.
    """
    others_hu = [
        find_nearest_hu(one, [other for j, other in enumerate(real) if j != i], window_hu) for i, one in enumerate(real)
    ]
    return Novelty(
        sample_to_real_hu=float(np.mean(samples_hu)),
        closest_sample_hu=float(np.min(samples_hu)),
        real_to_real_hu=float(np.mean(others_hu)),
        closest_real_hu=float(np.min(others_hu)),
    )


def find_nearest_hu(image: np.ndarray, real: Iterable[np.ndarray], window_hu: tuple[float, float]) -> float:
    """Return the root mean square distance in HU of an image to the nearest real one.

    Args:
      image: (z, y, x) in [-1, 1].
      real: other images.
      window_hu: CT values that are -1 and 1 in images.
    """
    scale = 0.5 * (window_hu[1] - window_hu[0])
    return min(float(scale * np.sqrt(np.mean(np.square(image - other), dtype=np.float64))) for other in real)
