import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.models.discriminator import MultiScaleDiscriminator, PatchDiscriminator, halve


@pytest.fixture
def discriminator(rng):
    discriminator = MultiScaleDiscriminator(8, seed=0)
    discriminator(rng.normal(size=(1, 32, 32, 4)).astype(np.float32), training=True)
    return discriminator


def images(rng, count=2, size=32):
    return rng.normal(size=(count, size, size, 4)).astype(np.float32)


def test_parameter_count_of_the_published_network():
    discriminator = MultiScaleDiscriminator(seed=0)
    discriminator.build((None, 128, 128, 4))
    assert sum(int(np.prod(weight.shape)) for weight in discriminator.trainable_weights) == 5_529_730


def test_parameter_count_with_a_mask_for_each_region():
    """Nine channels of semantics and the image, six more than the published four, enter both scales' first 4 x 4."""
    discriminator = MultiScaleDiscriminator(seed=0)
    discriminator.build((None, 128, 128, 10))
    count = sum(int(np.prod(weight.shape)) for weight in discriminator.trainable_weights)
    assert count == 5_529_730 + 2 * 6 * 16 * 64 == 5_542_018


def test_maps_are_normalised_in_each_image_and_channel(rng):
    """Instance norm without scale and centre, in float64, is the oracle; the layer is another with each TensorFlow."""
    maps = rng.normal(2.0, [0.01, 1.0, 30.0], (2, 9, 8, 3))
    centred = maps - maps.mean((1, 2), keepdims=True)
    expected = centred / np.sqrt(np.square(centred).mean((1, 2), keepdims=True) + 1e-5)
    norm = PatchDiscriminator(8, seed=0).norms[0]
    np.testing.assert_allclose(norm(tf.constant(maps, tf.float32)), expected, atol=2e-4)
    assert norm.weights == []


def test_maps_at_128_pixels(rng):
    maps = MultiScaleDiscriminator(4, seed=0)(images(rng, 1, 128))
    assert [[m.shape[1] for m in scale] for scale in maps] == [[65, 33, 17, 18, 19], [33, 17, 9, 10, 11]]
    assert [[m.shape[2] for m in scale] for scale in maps] == [[65, 33, 17, 18, 19], [33, 17, 9, 10, 11]]
    assert [[m.shape[3] for m in scale] for scale in maps] == [[4, 8, 16, 32, 1]] * 2


def test_number_of_scales_is_a_choice(rng):
    assert len(MultiScaleDiscriminator(4, scales=3, seed=0)(images(rng))) == 3


@pytest.mark.parametrize("size", [8, 7])
def test_halving_averages_only_pixels_that_exist(rng, size):
    image = rng.normal(size=(2, size, size, 3)).astype(np.float32)
    half = (size + 1) // 2
    expected = np.empty((2, half, half, 3))
    for i, j in np.ndindex(half, half):
        rows, columns = slice(max(2 * i - 1, 0), 2 * i + 2), slice(max(2 * j - 1, 0), 2 * j + 2)
        expected[:, i, j] = image[:, rows, columns].mean((1, 2))
    np.testing.assert_allclose(halve(tf.constant(image)), expected, atol=1e-5)


def test_second_scale_sees_the_halved_image(rng, discriminator):
    batch = images(rng)
    alone = discriminator.discriminators[1](halve(tf.constant(batch)))
    for found, expected in zip(discriminator(batch)[1], alone, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_real_and_fake_in_one_batch_equal_each_alone(rng, discriminator):
    real, fake = images(rng), 3 * images(rng) + 1
    together = discriminator(np.concatenate([real, fake]))
    for scale, real_scale, fake_scale in zip(together, discriminator(real), discriminator(fake), strict=True):
        for both, r, f in zip(scale, real_scale, fake_scale, strict=True):
            np.testing.assert_allclose(both, np.concatenate([r, f]), atol=1e-4)


def test_middle_maps_are_normalised_for_each_image_and_channel(rng):
    discriminator = PatchDiscriminator(8, seed=0)
    _, *middle, _ = discriminator(1e4 * images(rng, 3))
    for features in middle:
        before_activation = np.where(features.numpy() < 0, features.numpy() / 0.2, features.numpy())
        np.testing.assert_allclose(before_activation.mean((1, 2)), 0, atol=1e-3)
        np.testing.assert_allclose(before_activation.std((1, 2)), 1, atol=2e-2)


def test_first_map_and_logits_are_not_normalised(rng):
    batch = images(rng)
    discriminator = PatchDiscriminator(8, seed=0)
    first, *_, logits = discriminator(batch)
    first_doubled = discriminator(2 * batch)[0]
    np.testing.assert_allclose(first_doubled, 2 * first, rtol=1e-4, atol=1e-6)
    negated = discriminator(-batch)[0].numpy()
    np.testing.assert_allclose(negated, np.where(first > 0, -0.2 * first, -5 * first), rtol=1e-3, atol=1e-6)
    discriminator.last.bias.assign([5.0])
    np.testing.assert_allclose(discriminator(batch)[-1], logits + 5, atol=1e-5)


def test_three_middle_convolutions_have_no_bias():
    discriminator = PatchDiscriminator(8, seed=0)
    discriminator(tf.zeros((1, 32, 32, 4)))
    biases = sorted(weight.shape.as_list() for weight in discriminator.trainable_weights if weight.shape.rank == 1)
    assert biases == [[1], [8]]


def test_gradient_flows_to_every_pixel_of_the_image(rng, discriminator):
    image = tf.Variable(images(rng, 1)[..., 3:])
    semantics = images(rng, 1)[..., :3]
    for scale in range(2):
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(discriminator(tf.concat([semantics, image], axis=-1), training=True)[scale][-1])
        gradient = tape.gradient(value, image)
        assert np.isfinite(gradient).all()
        assert np.mean(np.abs(gradient) > 0) > 0.99


def test_training_moves_only_the_power_iteration_vectors(rng, discriminator):
    before = [weight.numpy() for weight in discriminator.weights]
    discriminator(images(rng), training=True)
    changed = {
        tuple(weight.shape)
        for weight, old in zip(discriminator.weights, before, strict=True)
        if np.any(weight.numpy() != old)
    }
    assert changed == {(1, 16), (1, 32), (1, 64)}
