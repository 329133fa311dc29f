"""Keras's own 3-D layers are the oracle, in double precision, gradients included."""

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.models.convolution3d import Doubling3D, SlicedConv3D, halve3d


def outputs_and_gradients(layer, image, weights):
    layer(image)
    layer.set_weights(weights)
    with tf.GradientTape() as tape:
        tape.watch(image)
        out = layer(image)
        loss = tf.reduce_sum(tf.sin(out))
    return [out, *tape.gradient(loss, [image, *layer.trainable_variables])]


def random_case(rng, kernel_shape, filters, channels):
    image = tf.constant(rng.standard_normal((2, 5, 6, 7, channels)))
    return image, [rng.standard_normal(kernel_shape), rng.standard_normal(filters)]


@pytest.mark.parametrize(("channels", "filters"), [(2, 5), (5, 2), (3, 3), (1, 4), (4, 1)])
def test_sliced_convolution(rng, channels, filters):
    image, weights = random_case(rng, (3, 3, 3, channels, filters), filters, channels)
    found = outputs_and_gradients(SlicedConv3D(filters, seed=0, dtype="float64"), image, weights)
    keras = tf.keras.layers.Conv3D(filters, 3, padding="same", dtype="float64")
    for ours, theirs in zip(found, outputs_and_gradients(keras, image, weights), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


@pytest.mark.parametrize(("channels", "filters"), [(2, 3), (3, 1)])
def test_doubling(rng, channels, filters):
    image, weights = random_case(rng, (2, 2, 2, filters, channels), filters, channels)
    found = outputs_and_gradients(Doubling3D(filters, seed=0, dtype="float64"), image, weights)
    keras = tf.keras.layers.Conv3DTranspose(filters, 2, 2, dtype="float64")
    for ours, theirs in zip(found, outputs_and_gradients(keras, image, weights), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


def test_halving(rng):
    image = tf.constant(rng.standard_normal((2, 4, 6, 8, 3)), tf.float32)  # no double precision pooling on CPUs
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(image)
        ours, theirs = halve3d(image), tf.nn.max_pool3d(image, 2, 2, "VALID")
        losses = [tf.reduce_sum(tf.sin(ours)), tf.reduce_sum(tf.sin(theirs))]
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(*(tape.gradient(loss, image) for loss in losses), atol=1e-6)
