import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.config import make_config
from fedsim_tf.models import built
from fedsim_tf.models.unet3d import UNet3D


def test_parameter_count_of_the_published_network():
    network = UNet3D(seed=0)
    network.build((None, 16, 16, 16, 1))
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == 19_073_665


def test_eight_outputs_have_seven_more_weights_and_biases_in_the_head_alone():
    """The last map has 64 channels: 7 * (64 + 1) values more."""
    network = UNet3D(seed=0, outputs=8)
    network.build((None, 16, 16, 16, 1))
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == 19_073_665 + 7 * 65


def test_a_network_by_region_has_an_output_for_the_background_and_each_region(rng):
    sizes = [
        make_config("demo", model={"unet_width": 2, "precision": "float32", "labels": kind}).model
        for kind in ("heart", "regions")
    ]
    heart, regions = (built.unet(one, seed=0) for one in sizes)
    image = rng.normal(size=(1, 16, 16, 16, 1)).astype(np.float32)
    assert [network(image).shape[-1] for network in (heart, regions)] == [1, 8]
    for one, other in zip(heart.weights[:-2], regions.weights[:-2], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shape", [(16, 16, 16), (8, 24, 16)])
def test_logits_have_the_shape_of_the_volume(rng, shape):
    logits = UNet3D(2, seed=0)(rng.normal(size=(2, *shape, 1)).astype(np.float32))
    assert logits.shape == (2, *shape, 1)
    assert logits.dtype == tf.float32


def test_every_trainable_weight_that_no_norm_cancels_gets_a_gradient(rng):
    network = UNet3D(2, seed=0)
    images = rng.normal(size=(2, 16, 16, 16, 1)).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(network(images) - 1))
    gradients = tape.gradient(loss, network.trainable_weights)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    kernels = [gradient for gradient in gradients if gradient.shape.rank > 1]
    assert len(kernels) == 2 * 4 + 2 * 3 + 3 + 1
    assert all(np.abs(kernel).max() > 0 for kernel in kernels)


def test_volumes_are_normalised_alone_by_their_own_statistics(rng):
    network = UNet3D(2, seed=0)
    images = rng.normal(size=(2, 8, 8, 8, 1)).astype(np.float32)
    together = network(images)
    np.testing.assert_allclose(together[:1], network(images[:1]), atol=1e-5)
    np.testing.assert_allclose(network(1000 * images), together, atol=1e-2)
    assert not network.non_trainable_weights


@pytest.mark.parametrize("count", [1, 3])
def test_normalisation_is_batch_norm_of_each_volume(rng, count):
    maps = rng.normal(2, 3, size=(count, 4, 5, 6, 7)).astype(np.float32)
    expected = tf.keras.layers.BatchNormalization(epsilon=1e-5)
    alone = np.concatenate([expected(maps[k : k + 1], training=True) for k in range(count)])
    np.testing.assert_allclose(UNet3D(2, seed=0).down[0].norms[0](maps), alone, atol=1e-5)
