import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.models.spectral_norm import SpectralConv2D

CHANNELS, FILTERS, SIZE = 5, 12, 3
FAN_IN = SIZE * SIZE * CHANNELS
IMPULSES = np.eye(FAN_IN, dtype=np.float32).reshape(FAN_IN, SIZE, SIZE, CHANNELS)


@pytest.fixture
def layer():
    layer = SpectralConv2D(FILTERS, SIZE, seed=0, kernel_initializer=tf.keras.initializers.RandomNormal(stddev=2.0))
    layer.build((None, SIZE, SIZE, CHANNELS))
    return layer


def used_matrix(layer, training=False):
    """The convolution's matrix (fan in, fan out) as its response to every unit impulse."""
    return np.reshape(layer(IMPULSES, training=training), (FAN_IN, FILTERS)).astype(np.float64)


def stored_matrix(layer):
    return layer.kernel.numpy().reshape(FAN_IN, FILTERS).astype(np.float64)


def unit(vector):
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("training", [True, False])
def test_largest_singular_value_is_one_after_many_training_calls(layer, training):
    for _ in range(300):
        layer(IMPULSES[:1], training=True)
    assert np.linalg.svd(stored_matrix(layer), compute_uv=False)[0] > 5
    assert np.linalg.svd(used_matrix(layer, training), compute_uv=False)[0] == pytest.approx(1, rel=1e-4)


def test_one_training_call_is_one_power_iteration(layer):
    matrix, u = stored_matrix(layer), layer.u.numpy()[0].astype(np.float64)
    v = unit(matrix @ u)
    u = unit(matrix.T @ v)
    np.testing.assert_allclose(used_matrix(layer, training=True), matrix / (v @ matrix @ u), atol=1e-5)
    np.testing.assert_allclose(layer.u.numpy()[0], u, atol=1e-5)


def test_stored_kernel_is_not_overwritten(layer):
    before = layer.kernel.numpy()
    for _ in range(3):
        layer(IMPULSES, training=True)
    np.testing.assert_array_equal(layer.kernel, before)


def test_scale_of_the_stored_kernel_does_not_matter(layer):
    before = used_matrix(layer)
    layer.kernel.assign(7 * layer.kernel)
    np.testing.assert_allclose(used_matrix(layer), before, atol=1e-5)


def test_inference_does_not_move_u(layer):
    before = layer.u.numpy()
    for _ in range(3):
        layer(IMPULSES, training=False)
    np.testing.assert_array_equal(layer.u, before)


def test_only_kernel_and_bias_are_trainable(layer):
    assert {weight.shape.as_list()[-1] for weight in layer.trainable_weights} == {FILTERS}
    assert [weight.shape.rank for weight in layer.trainable_weights] == [4, 1]
    assert layer.non_trainable_weights == [layer.u]


@pytest.mark.parametrize("training", [True, False])
def test_kernel_gradient_flows_through_sigma_with_u_and_v_fixed(layer, rng, training):
    matrix, upstream = stored_matrix(layer), rng.normal(size=(FAN_IN, FILTERS))
    u = layer.u.numpy()[0].astype(np.float64)
    v = unit(matrix @ u)
    if training:
        u = unit(matrix.T @ v)
    with tf.GradientTape() as tape:
        outputs = layer(IMPULSES, training=training)
        value = tf.reduce_sum(outputs * upstream.reshape(outputs.shape).astype(np.float32))
    found = np.reshape(tape.gradient(value, layer.kernel), (FAN_IN, FILTERS))

    def normalised(w):
        return np.sum(upstream * w / (v @ w @ u))

    expected = np.empty_like(matrix)
    for index in np.ndindex(matrix.shape):
        step = np.zeros_like(matrix)
        step[index] = 1e-4
        expected[index] = (normalised(matrix + step) - normalised(matrix - step)) / 2e-4
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    assert np.sum(found * matrix) == pytest.approx(0, abs=1e-2 * float(np.linalg.norm(found)))


def test_compiled_calls_agree_with_eager_ones(layer):
    twin = SpectralConv2D(FILTERS, SIZE, seed=0)
    twin.build((None, SIZE, SIZE, CHANNELS))
    twin.set_weights(layer.get_weights())
    compiled = tf.function(lambda images: twin(images, training=True))
    for _ in range(3):
        np.testing.assert_allclose(compiled(IMPULSES), layer(IMPULSES, training=True), atol=1e-5)
    np.testing.assert_allclose(twin.u, layer.u, atol=1e-5)


def test_bias_is_added_after_the_normalisation(layer):
    before = used_matrix(layer)
    layer.bias.assign(np.arange(FILTERS, dtype=np.float32))
    np.testing.assert_allclose(used_matrix(layer) - before, np.tile(np.arange(FILTERS), (FAN_IN, 1)), atol=1e-5)


def test_weights_survive_saving_and_loading(layer, tmp_path):
    layer(IMPULSES, training=True)
    tf.train.Checkpoint(layer=layer).write(str(tmp_path / "weights"))
    twin = SpectralConv2D(FILTERS, SIZE, seed=0)
    twin.build((None, SIZE, SIZE, CHANNELS))
    tf.train.Checkpoint(layer=twin).read(str(tmp_path / "weights")).assert_consumed()
    np.testing.assert_array_equal(used_matrix(twin), used_matrix(layer))
