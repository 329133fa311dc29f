"""Invert one convolution of a U-Net, with the normalisation and ReLU after it, whose outputs are known.

Half of the outputs say nothing but that they are 0, which is too little to find as many inputs. The layer's gradients
have the rest: where the gradients of the outputs are known too, they depend on the inputs alone. Both together are met
by descent. One layer has hardly any local minima, where the whole network has many.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from fedsim_tf.federated.attack.bottleneck import Bottleneck, GradientOf
from fedsim_tf.models.convolution3d import halve3d
from fedsim_tf.models.unet3d import DoubleConvolution, UNet3D

STEPS, RATE = 800, 0.02  # of Adam


def invert_level(network: UNet3D, known: Bottleneck, gradient_of: GradientOf) -> tf.Tensor:
    """Return what goes into the second-deepest level, maps (1, n, n, n, C) that are not negative, up to a factor.

    The normalisations take the factor of each layer's inputs away, so that all distances here are scale-free.

    Args:
      network: a U-Net of three levels or more, with the weights that the server has sent.
      known: what comes out of that level.
      gradient_of: gives the gradient of a variable.
    """
    level, deepest, raised = network.down[-2], network.down[-1], network.up[0].convolutions[0]
    with tf.GradientTape() as tape:
        tape.watch(known.skipped)
        out = raised((known.skipped, deepest(halve3d(known.skipped))))
    upstream = tape.gradient(out, known.skipped, output_gradients=known.upstream)
    between = _invert_layer(level, 1, known.skipped, upstream, gradient_of)
    with tf.GradientTape() as tape:
        tape.watch(between)
        out = _apply(level, 1, between)
    return _invert_layer(level, 0, between, tape.gradient(out, between, output_gradients=upstream), gradient_of)


def _apply(level: DoubleConvolution, number: int, maps: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu(level.norms[number](level.convolutions[number](maps)))


def _invert_layer(
    level: DoubleConvolution, number: int, outputs: tf.Tensor, upstream: tf.Tensor, gradient_of: GradientOf
) -> tf.Tensor:
    """Return the inputs of one of a level's two layers, given its outputs and their gradients."""
    norm, kernel = level.norms[number], level.convolutions[number].kernel
    weights = [kernel, norm.gamma, norm.beta]
    sent = [tf.constant(gradient_of(one), tf.float32) for one in weights]
    start = np.abs(np.random.default_rng(0).normal(0.0, 0.3, (*outputs.shape[:4], kernel.shape[3])))
    found = tf.Variable(start, dtype=tf.float32)
    optimizer = tf.keras.optimizers.legacy.Adam(tf.keras.optimizers.schedules.CosineDecay(RATE, STEPS))

    @tf.function(autograph=False)
    def measure_slope() -> tf.Tensor:
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                made = _apply(level, number, found)
            gradients = inner.gradient(made, weights, output_gradients=upstream)
            loss = tf.add_n(
                [cosine_distance([a], [b]) for a, b in zip([made, *gradients], [outputs, *sent], strict=True)]
            )
        return outer.gradient(loss, found)

    for _ in range(STEPS):
        optimizer.apply_gradients([(measure_slope(), found)])
        found.assign(tf.nn.relu(found))
    return tf.convert_to_tensor(found)


def cosine_distance(found: Sequence[tf.Tensor], true: Sequence[tf.Tensor]) -> tf.Tensor:
    """Return 1 less the cosine between two lists of arrays, each taken as one vector."""
    product, of_found, of_true = (
        tf.add_n([tf.reduce_sum(a * b) for a, b in zip(*pair, strict=True)])
        for pair in ((found, true), (found, found), (true, true))
    )
    return 1.0 - product / tf.sqrt(of_found * of_true + 1e-30)
