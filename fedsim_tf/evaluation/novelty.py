"""Whether synthetic volumes are new, and how far their slices' features lie from real ones."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from sklearn.metrics.pairwise import polynomial_kernel

from fedsim_tf.models.vgg import VGG19Features

EVERY = 4  # slices of which one is looked at for features
BATCH = 16


def measure_novelty(real: np.ndarray, synthetic: np.ndarray, window_hu: tuple[float, float]) -> dict[str, float]:
    """Root mean square distances over the whole CT in HU, to the nearest real volume.

    A sample that repeats a training volume lies much nearer to it than real volumes lie to one another.

    Args:
      real: images (m, z, y, x) in [-1, 1] that the model has learnt from, m at least 2.
      synthetic: images (n, z, y, x).
      window_hu: CT values of -1 and 1.

    Returns:
      "sample_to_real_hu", the mean over samples, and "closest_sample_hu", the smallest; "real_to_real_hu" and
      "closest_real_hu", the same among the real ones.
    """
    scale = 0.5 * (window_hu[1] - window_hu[0])
    samples = [min(_distance(one, other) for other in real) for one in synthetic]
    others = [min(_distance(one, other) for j, other in enumerate(real) if j != i) for i, one in enumerate(real)]
    found = {"sample_to_real_hu": np.mean(samples), "closest_sample_hu": np.min(samples)}
    found |= {"real_to_real_hu": np.mean(others), "closest_real_hu": np.min(others)}
    return {name: float(scale * value) for name, value in found.items()}


def feature_distances(vgg: VGG19Features, real: np.ndarray, synthetic: np.ndarray) -> dict[str, float]:
    """Kernel distance between slices' last VGG features (relu5_1, averaged over the slice).

    The unbiased squared maximum mean discrepancy with a cubic kernel (KID, Binkowski et al., ICLR 2018), which unlike
    Frechet's distance means something for a few hundred slices.

    Returns:
      "real_to_synthetic", and "real_to_real" between the even and the odd real volumes.
    """
    features = [_features(vgg, images) for images in real]
    made = np.concatenate([_features(vgg, images) for images in synthetic])
    everyone, even, odd = (np.concatenate(part) for part in (features, features[::2], features[1::2]))
    return {"real_to_synthetic": kernel_distance(everyone, made), "real_to_real": kernel_distance(even, odd)}


def kernel_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy of two sets of vectors (n, d) and (m, d), cubic kernel."""
    within = 0.0
    for part in (first, second):
        kernel = polynomial_kernel(part)
        within += (kernel.sum() - np.trace(kernel)) / (len(part) * (len(part) - 1))
    return float(within - 2.0 * polynomial_kernel(first, second).mean())


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(one - other), dtype=np.float64)))


def _features(vgg: VGG19Features, images: np.ndarray) -> np.ndarray:
    """(slices, channels) of every fourth slice of one volume (z, y, x)."""
    slices = images[EVERY // 2 :: EVERY, :, :, None].astype(np.float32)
    parts = [vgg(tf.constant(slices[k : k + BATCH]))[-1] for k in range(0, len(slices), BATCH)]
    return np.concatenate([tf.reduce_mean(tf.cast(part, tf.float32), axis=(1, 2)).numpy() for part in parts])
