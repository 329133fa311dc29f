"""Batch-norm statistics of the enhancement network while it samples."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from fedsim_tf.models.gaugan import GauGANGenerator
from fedsim_tf.synthesis import take_slices
from fedsim_tf.training.learner import SiteLearner

BATCHES, SLICES = 32, 8


@contextlib.contextmanager
def settle_statistics(enhancer: GauGANGenerator, batches: Iterable[tf.Tensor]) -> Iterator[None]:
    """Let the enhancement network normalise by the mean over batches within the context; restore it afterwards.

    The moving averages that it learns with remember some ten steps, in the last stage of one slice each. Volumes that
    are sampled with these would depend on which steps were the last.

    Args:
      enhancer: the network.
      batches: of semantics (B, y, x, S), such as `training_slices`.
    """
    norms = [layer for layer in enhancer.submodules if isinstance(layer, tf.keras.layers.BatchNormalization)]
    weights, momenta = enhancer.get_weights(), [norm.momentum for norm in norms]
    moving = [statistic for norm in norms for statistic in (norm.moving_mean, norm.moving_variance)]
    try:
        for norm in norms:
            norm.momentum = 0.0  # the moving average is then that of the last batch
        forward = tf.function(lambda semantics: enhancer(semantics, training=True), autograph=False)
        seen = []
        for semantics in batches:
            forward(semantics)
            seen.append([statistic.numpy() for statistic in moving])
        for statistic, values in zip(moving, zip(*seen, strict=True), strict=True):
            statistic.assign(np.mean(values, axis=0))
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        enhancer.set_weights(weights)


def training_slices(learner: SiteLearner, *, with_unlabelled: bool) -> Iterator[tf.Tensor]:
    """Yield random slices of what the model makes of random training volumes' latents.

    Args:
      learner: the site's state.
      with_unlabelled: whether the latents of unannotated volumes have been learnt, and are used.

    Yields:
      Semantics (8, y, x, S), 32 times.
    """
    rng, model = learner.rng("statistics"), learner.model
    tables = [learner.labelled_latents.table] + ([learner.unlabelled_latents.table] if with_unlabelled else [])
    latents = tf.concat(tables, axis=0)
    for volume, index in random_slices(rng, volumes=latents.shape[0], size=model.size):
        z = tf.gather(latents, volume)
        label = model.hard_label(take_slices(model.labels(z), index))
        yield model.semantics(model.coarse_ct(z), model.encode_label(label), index)


def random_slices(rng: np.random.Generator, *, volumes: int, size: int) -> Iterator[tuple[np.ndarray, tf.Tensor]]:
    """Yield 32 times the numbers of eight random volumes (8,) and of a random slice of each (8,)."""
    for _ in range(BATCHES):
        yield rng.integers(volumes, size=SLICES), tf.constant(rng.integers(size, size=SLICES), tf.int32)
