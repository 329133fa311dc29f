"""Keras's group normalisation with a group for each channel is the oracle, gradients included."""

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.models.volume_norm import VolumeNorm


def outputs_and_gradients(layer, maps, weights, upstream):
    layer(maps)
    layer.set_weights(weights)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        out = layer(maps)
        loss = tf.reduce_sum(tf.cast(upstream, out.dtype) * out)
    return [out, *tape.gradient(loss, [maps, *layer.trainable_variables])]


@pytest.mark.parametrize("batch", [1, 3])
def test_it_is_keras_s_instance_norm(rng, batch):
    maps = tf.constant(rng.normal(2.0, 3.0, (batch, 4, 5, 6, 7)), tf.float32)
    weights = [rng.normal(1.0, 0.5, 7), rng.normal(0.0, 0.5, 7)]
    upstream = rng.standard_normal(maps.shape)
    keras = tf.keras.layers.GroupNormalization(groups=-1, epsilon=1e-5, dtype="float64")
    exact = outputs_and_gradients(keras, tf.cast(maps, tf.float64), weights, upstream)
    for ours, theirs in zip(outputs_and_gradients(VolumeNorm(), maps, weights, upstream), exact, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5 * np.abs(theirs).max())


def test_volumes_do_not_see_each_other(rng):
    layer = VolumeNorm()
    maps = tf.constant(rng.standard_normal((2, 4, 4, 4, 3)), tf.float32)
    np.testing.assert_allclose(layer(maps)[:1], layer(maps[:1]), atol=1e-5)
