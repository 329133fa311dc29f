"""Batch-norm statistics for sampling."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from fedsim_tf.synthesis import take_slices
from fedsim_tf.training.learner import SiteLearner

BATCHES, SLICES = 32, 8


@contextlib.contextmanager
def settled_statistics(learner: SiteLearner, *, with_unlabelled: bool) -> Iterator[None]:
    """Inside, the enhancement network normalises by what it sees on average; afterwards it is as before.

    While it learns, its moving averages remember some ten steps, in the last stage of single slices each, and the next
    ones would not look alike. Here they are the mean over random slices of the training volumes as the model has them.

    Args:
      learner: whose network.
      with_unlabelled: whether the latents of unannotated volumes have been learnt, and are used.
    """
    enhancer = learner.model.enhancer
    norms = [layer for layer in enhancer.submodules if isinstance(layer, tf.keras.layers.BatchNormalization)]
    weights, momenta = enhancer.get_weights(), [norm.momentum for norm in norms]
    rng = learner.rng("statistics")
    try:
        for number in range(BATCHES):
            for norm in norms:
                norm.momentum = number / (number + 1.0)  # makes a moving average the mean of all so far
            enhancer(_semantics(learner, rng, with_unlabelled), training=True)
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        enhancer.set_weights(weights)


def _semantics(learner: SiteLearner, rng: np.random.Generator, with_unlabelled: bool) -> tf.Tensor:
    """Random slices of what the model makes of random training volumes' latents."""
    tables = [learner.labelled_latents.table] + ([learner.unlabelled_latents.table] if with_unlabelled else [])
    latents = tf.concat(tables, axis=0)
    model, z = learner.model, tf.gather(latents, rng.integers(latents.shape[0], size=SLICES))
    index = tf.constant(rng.integers(model.size, size=SLICES), tf.int32)
    label = tf.cast(take_slices(model.labels(z), index) > 0.5, tf.float32)
    return model.semantics(model.coarse_ct(z), label, index)
