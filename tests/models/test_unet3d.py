import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.models import UNet3D


def test_parameter_count_of_the_published_network():
    network = UNet3D()
    network.build((None, 16, 16, 16, 1))
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == 19_073_665


@pytest.mark.parametrize("shape", [(16, 16, 16), (8, 24, 16)])
def test_logits_have_the_shape_of_the_volume(rng, shape):
    logits = UNet3D(2)(rng.normal(size=(2, *shape, 1)).astype(np.float32))
    assert logits.shape == (2, *shape, 1)
    assert logits.dtype == tf.float32


def test_every_trainable_weight_that_no_norm_cancels_gets_a_gradient(rng):
    network = UNet3D(2)
    images = rng.normal(size=(2, 16, 16, 16, 1)).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(network(images, training=True) - 1))
    gradients = tape.gradient(loss, network.trainable_weights)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    kernels = [gradient for gradient in gradients if gradient.shape.rank > 1]
    assert len(kernels) == 2 * 4 + 2 * 3 + 3 + 1
    assert all(np.abs(kernel).max() > 0 for kernel in kernels)


def test_inference_treats_volumes_alone_and_leaves_the_moving_statistics(rng):
    network = UNet3D(2)
    images = rng.normal(size=(2, 8, 8, 8, 1)).astype(np.float32)
    network(images, training=True)
    before = [weight.numpy() for weight in network.non_trainable_weights]
    together = network(images, training=False)
    np.testing.assert_allclose(together[:1], network(images[:1], training=False), atol=1e-5)
    for weight, old in zip(network.non_trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_training_normalises_the_batch_and_moves_its_statistics(rng):
    network = UNet3D(2)
    images = rng.normal(size=(2, 8, 8, 8, 1)).astype(np.float32)
    first = network(images, training=True)
    assert all(np.abs(w.numpy() - round(float(w.numpy().mean()))).max() > 0 for w in network.non_trainable_weights)
    np.testing.assert_allclose(network(1000 * images, training=True), first, atol=1e-2)
    assert np.abs(network(images, training=False) - first).max() > 1e-2
