import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.errors import InputError
from fedsim_tf.models.gaugan import GauGANGenerator


def semantics(rng, size=32, count=2):
    return rng.uniform(-1, 1, (count, size, size, 3)).astype(np.float32)


def count_parameters(channels):
    """Count those of the network at full size; in a graph, so that nobody draws their values."""
    with tf.Graph().as_default():
        generator = GauGANGenerator(seed=0)
        generator.build((None, 128, 128, channels))
        return sum(int(np.prod(weight.shape)) for weight in generator.trainable_weights)


def test_parameter_count_of_the_published_network():
    assert count_parameters(3) == 92_058_433


def test_parameter_count_with_a_mask_for_each_region():
    """Coarse CT, seven regions and k / size: six channels more than the published network's three.

    The semantics enter by 3 x 3 convolutions alone: the first one to 16 x 64 channels, and the one to 128 channels of
    each SPADE. Seven blocks have two SPADEs, and the four that change the width a third one.
    """
    added = 6 * 9 * (16 * 64 + (7 * 2 + 4) * 128)
    assert added == 179_712
    assert count_parameters(9) == 92_058_433 + added == 92_238_145


@pytest.mark.parametrize("size", [32, 64, 128])
def test_images_have_the_size_and_range(rng, size):
    generator = GauGANGenerator(size, 4, seed=0)
    image = generator(semantics(rng, size, 1))
    assert image.shape == (1, size, size, 1)
    assert image.dtype == tf.float32
    generator.last.kernel.assign(1e4 * generator.last.kernel)
    saturated = generator(semantics(rng, size, 1)).numpy()
    assert np.abs(saturated).max() <= 1
    assert saturated.max() > 0.5
    assert saturated.min() < -0.5


@pytest.mark.parametrize("size", [16, 100, 256])
def test_other_sizes_are_refused(size):
    with pytest.raises(InputError, match=f"size: found {size}; expected one of 128, 64, 32"):
        GauGANGenerator(size, seed=0)


def test_sizes_share_their_weights():
    shapes = []
    for size in (32, 64):
        generator = GauGANGenerator(size, 2, seed=0)
        generator.build((None, size, size, 3))
        shapes.append([weight.shape.as_list() for weight in generator.weights])
    assert shapes[0] == shapes[1]


def test_seven_blocks_narrow_from_sixteen_widths_to_one(rng):
    generator = GauGANGenerator(32, 2, seed=0)
    widths = []
    out = tf.zeros((1, 4, 4, 32))
    generator(semantics(rng))
    for block in generator.blocks:
        out = block((out, semantics(rng, count=1)))
        widths.append(out.shape[-1])
    assert widths == [32, 32, 32, 16, 8, 4, 2]


def test_the_same_semantics_give_the_same_image(rng):
    generator = GauGANGenerator(32, 4, seed=0)
    labels = semantics(rng)
    np.testing.assert_array_equal(generator(labels), generator(labels))


def test_inference_draws_each_slice_alone(rng):
    generator = GauGANGenerator(32, 4, seed=0)
    labels = semantics(rng)
    generator(labels, training=True)
    generator.last.kernel.assign(100 * generator.last.kernel)
    np.testing.assert_allclose(generator(labels)[:1], generator(labels[:1]), atol=1e-4)


def test_gradient_reaches_the_semantics_and_every_kernel(rng):
    generator = GauGANGenerator(32, 4, seed=0)
    labels = tf.Variable(semantics(rng))
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(generator(labels, training=True)[:, ::2])
    to_labels, to_weights = tape.gradient(value, [labels, generator.trainable_weights])
    assert np.isfinite(to_labels).all()
    assert np.abs(to_labels).max() > 0
    for gradient in to_weights:
        assert np.isfinite(gradient).all()
        assert gradient.shape.rank == 1 or np.abs(gradient).max() > 0


def test_compiled_training_agrees_with_eager_training(rng):
    eager, compiled = GauGANGenerator(32, 2, seed=0), GauGANGenerator(32, 2, seed=0)
    labels = semantics(rng)
    for generator in (eager, compiled):
        generator(labels)
    compiled.set_weights(eager.get_weights())
    step = tf.function(lambda images: compiled(images, training=True))
    for _ in range(2):
        np.testing.assert_allclose(step(labels), eager(labels, training=True), atol=1e-4)
    for a, b in zip(compiled.weights, eager.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_initial_convolutions_are_xavier_normal_with_gain_two_hundredths(rng):
    generator = GauGANGenerator(32, 8, seed=0)
    generator(semantics(rng))
    kernel = generator.first.kernel.numpy()
    expected = 0.02 * np.sqrt(2 / (9 * 3 + 9 * 128))
    assert kernel.std() == pytest.approx(expected, rel=0.05)
    assert np.abs(kernel).max() > 2.5 * expected
