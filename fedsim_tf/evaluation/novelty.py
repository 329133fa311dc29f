"""Measure whether synthetic volumes are new, and how far their slices' VGG features lie from real ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from fedsim_tf.models.vgg import VGG19Features
from fedsim_tf.records.fold_scores import FeatureDistances, Novelty

EVERY = 4  # one slice of so many has its features taken
BATCH = 16


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


def average_features(vgg: VGG19Features, images: np.ndarray) -> list[np.ndarray]:
    """Return the last VGG features (relu5_1, averaged over the slice) of every fourth slice of each volume.

    Args:
      vgg: the features.
      images: (n, z, y, x) in [-1, 1].

    Returns:
      n arrays (slices, channels).
    """
    return [_features_of_volume(vgg, volume) for volume in images]


def compare_features(real: Sequence[np.ndarray], synthetic: Sequence[np.ndarray]) -> FeatureDistances:
    """Return the kernel distances of real volumes' features to synthetic ones', and of even to odd real volumes'.

    The distance is the unbiased squared maximum mean discrepancy with a cubic kernel (KID, Binkowski et al., ICLR
    2018), which unlike Frechet's distance means something for a few hundred slices.

    Args:
      real, synthetic: for each volume what `average_features` returns.
    """
    everyone, even, odd = (np.concatenate(part) for part in (real, real[::2], real[1::2]))
    made = np.concatenate(synthetic)
    return FeatureDistances(kernel_distance(everyone, made), kernel_distance(even, odd))


def kernel_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the unbiased squared maximum mean discrepancy of two sets of vectors (n, d) and (m, d), cubic kernel."""
    from sklearn.metrics.pairwise import polynomial_kernel  # here, as scikit-learn takes a second

    within = 0.0
    for part in (first, second):
        kernel = polynomial_kernel(part)
        within += (kernel.sum() - np.trace(kernel)) / (len(part) * (len(part) - 1))
    return float(within - 2.0 * polynomial_kernel(first, second).mean())


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(one - other), dtype=np.float64)))


def _features_of_volume(vgg: VGG19Features, volume: np.ndarray) -> np.ndarray:
    slices = volume[EVERY // 2 :: EVERY, :, :, None].astype(np.float32)
    parts = [vgg(tf.constant(slices[k : k + BATCH]))[-1] for k in range(0, len(slices), BATCH)]
    return np.concatenate([tf.reduce_mean(tf.cast(part, tf.float32), axis=(1, 2)).numpy() for part in parts])
