"""Slices of training volumes beside what the model makes of them, for TensorBoard."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from fedsim_tf.synthesis import take_slices
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.watch import montage

SHOWN = 4  # volumes


def draw_generated_slices(learner: SiteLearner, images: tf.Tensor, z: tf.Tensor) -> np.ndarray:
    """Draw what the model makes of latents (n, d) beside real volumes; see `draw_slices`.

    Without volumes the picture is black.
    """
    size, z = learner.model.size, z[:SHOWN]
    if not len(z):
        return np.zeros((size, 4 * size), np.float32)
    labels = take_slices(learner.model.labels(z), middle_slices(learner, images))
    return draw_slices(learner, images, labels, learner.model.coarse_ct(z))


def middle_slices(learner: SiteLearner, images: tf.Tensor) -> tf.Tensor:
    """Return the number of the slice that is drawn of each of the first volumes."""
    return tf.fill((min(SHOWN, len(images)),), learner.model.size // 2)


def draw_slices(learner: SiteLearner, images: tf.Tensor, labels: tf.Tensor, coarse: tf.Tensor) -> np.ndarray:
    """Draw the middle slice of the first volumes as one picture: real, coarse CT, label, enhanced.

    By region, labels are drawn the brighter the larger the region's id is.

    Args:
      learner: whose enhancement network is used.
      images: real volumes (n, z, y, x).
      labels: their middle slices, see `middle_slices`: (m, y, x), or by region (m, y, x, 7).
      coarse: CTs (n, c, c, c).

    Returns:
      (rows * y, 4 * x), 0 to 1.
    """
    model, middle = learner.model, middle_slices(learner, images)
    count = len(middle)
    semantics = model.semantics(coarse[:count], labels, middle)
    enhanced = model.enhancer(semantics, training=False)[..., 0]
    real = take_slices(images[:count], middle)
    return montage([real.numpy(), semantics[..., 0].numpy(), label_grey(semantics.numpy()), enhanced.numpy()])


def label_grey(semantics: np.ndarray) -> np.ndarray:
    """Return the labels (...) in semantics (..., S), background -1, heart or last region 1."""
    masks = semantics[..., 1:-1]
    brightness = np.arange(1, masks.shape[-1] + 1, dtype=np.float32) / masks.shape[-1]
    return 2.0 * (masks @ brightness) - 1.0
