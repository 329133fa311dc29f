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
    return draw_slices(learner, images, learner.model.labels(z), learner.model.coarse_ct(z))


def draw_slices(learner: SiteLearner, images: tf.Tensor, labels: tf.Tensor, coarse: tf.Tensor) -> np.ndarray:
    """Draw the middle slice of the first volumes as one picture: real, coarse CT, label, enhanced.

    Args:
      learner: whose enhancement network is used.
      images: real volumes (n, z, y, x); labels: (n, z, y, x); coarse: CTs (n, c, c, c).

    Returns:
      (rows * y, 4 * x), 0 to 1.
    """
    model, count = learner.model, min(SHOWN, len(images))
    middle = tf.fill((count,), model.size // 2)
    semantics = model.semantics(coarse[:count], take_slices(labels[:count], middle), middle)
    enhanced = model.enhancer(semantics, training=False)[..., 0]
    real = take_slices(images[:count], middle)
    return montage([real.numpy(), semantics[..., 0].numpy(), 2.0 * semantics[..., 1].numpy() - 1.0, enhanced.numpy()])
