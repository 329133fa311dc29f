import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.models.spade import Spade, SpadeResidualBlock

CHANNELS = 6


@pytest.fixture
def inputs(rng):
    features = rng.normal(3.0, 2.0, (4, 8, 8, CHANNELS)) * np.arange(1, CHANNELS + 1)
    return features.astype(np.float32), rng.uniform(-1, 1, (4, 32, 32, 3)).astype(np.float32)


@pytest.fixture
def spade(inputs):
    """With strong random weights, so that the modulation is seen."""
    layer = Spade(seed=0)
    layer.build([array.shape for array in inputs])
    layer(inputs)
    for weight in layer.trainable_weights:
        weight.assign(tf.random.normal(weight.shape, stddev=0.2))
    return layer


def set_modulation(spade, gamma, beta):
    """The same scale and shift at all pixels."""
    for layer, value in ((spade.gamma, gamma), (spade.beta, beta)):
        layer.kernel.assign(tf.zeros_like(layer.kernel))
        layer.bias.assign(np.broadcast_to(np.float32(value), (spade.gamma.filters,)))


def normalised(features, mean=None, variance=None):
    features = features.astype(np.float64)
    mean = features.mean((0, 1, 2)) if mean is None else mean
    variance = features.var((0, 1, 2)) if variance is None else variance
    return (features - mean) / np.sqrt(variance + 1e-5)


def test_without_modulation_it_is_plain_batch_norm(spade, inputs):
    set_modulation(spade, 0, 0)
    np.testing.assert_allclose(spade(inputs, training=True), normalised(inputs[0]), atol=1e-4)


def test_scale_is_one_plus_gamma_and_shift_is_beta(spade, inputs, rng):
    gamma, beta = rng.normal(size=(2, CHANNELS))
    set_modulation(spade, gamma, beta)
    expected = normalised(inputs[0]) * (1 + gamma) + beta
    np.testing.assert_allclose(spade(inputs, training=True), expected, atol=1e-4)


def test_epsilon_is_added_to_the_variance(spade, inputs):
    set_modulation(spade, 0, 0)
    faint = (1e-3 * inputs[0]).astype(np.float32)
    np.testing.assert_allclose(spade((faint, inputs[1]), training=True), normalised(faint), atol=1e-3)


def test_moving_statistics_have_momentum_nine_tenths(spade, inputs):
    features = inputs[0].astype(np.float64)
    mean, variance = np.zeros(CHANNELS), np.ones(CHANNELS)
    for _ in range(3):
        spade(inputs, training=True)
        mean = 0.9 * mean + 0.1 * features.mean((0, 1, 2))
        variance = 0.9 * variance + 0.1 * features.var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(spade.norm.moving_mean, mean, rtol=1e-4)
    np.testing.assert_allclose(spade.norm.moving_variance, variance, rtol=1e-4)


def test_inference_uses_the_moving_statistics_and_leaves_them(spade, inputs):
    set_modulation(spade, 0, 0)
    mean, variance = np.arange(CHANNELS) / 2, np.arange(1, CHANNELS + 1) ** 2
    spade.norm.set_weights([mean, variance])
    np.testing.assert_allclose(spade(inputs), normalised(inputs[0], mean, variance), atol=1e-4)
    np.testing.assert_array_equal(spade.norm.moving_mean, mean)
    np.testing.assert_array_equal(spade.norm.moving_variance, variance)


def test_norm_has_no_parameters_of_its_own(spade):
    assert spade.norm.trainable_weights == []
    shapes = [weight.shape.as_list() for weight in spade.trainable_weights if weight.shape.rank == 4]
    assert sorted(shapes) == sorted([[3, 3, 3, 128], [3, 3, 128, CHANNELS], [3, 3, 128, CHANNELS]])


def test_semantics_act_at_their_own_place_only(spade, inputs):
    features, semantics = inputs
    changed = semantics.copy()
    changed[0, 4 * 5 : 4 * 6, 4 * 2 : 4 * 3] += 1
    difference = np.abs(spade((features, changed)) - spade((features, semantics))).max(-1)
    reach = np.zeros((4, 8, 8), bool)
    reach[0, 3:8, 0:5] = True
    np.testing.assert_array_equal(difference > 1e-6, reach)


def test_semantics_are_subsampled_and_never_mixed(spade, inputs):
    features, semantics = inputs
    found = spade((features, semantics))
    candidates = [spade((features, semantics[:, i::4, i::4])) for i in range(4)]
    assert min(np.abs(found - candidate).max() for candidate in candidates) < 1e-5


def built_block(filters, inputs):
    block = SpadeResidualBlock(filters, seed=0)
    block(inputs, training=True)
    return block


def test_shortcut_is_the_identity_where_the_width_stays(inputs):
    block = built_block(CHANNELS, inputs)
    silence(block)
    np.testing.assert_array_equal(block(inputs), inputs[0])
    assert kernel_shapes(block) == [[3, 3, CHANNELS, CHANNELS]] * 2


@pytest.mark.parametrize(("filters", "middle"), [(4, 4), (9, CHANNELS)])
def test_learnt_shortcut_is_a_linear_convolution_of_the_spade(inputs, filters, middle):
    block = built_block(filters, inputs)
    silence(block)
    set_modulation(block.spade_shortcut, 0, 0)
    kernel = block.conv_shortcut.kernel.numpy()[0, 0].astype(np.float64)
    mixed = normalised(inputs[0]) @ kernel
    found = block(inputs, training=True).numpy()
    scale = np.sum(found * mixed) / np.sum(mixed**2)
    assert 1 / scale == pytest.approx(np.linalg.norm(kernel, 2), rel=0.2)
    np.testing.assert_allclose(found, scale * mixed, atol=1e-3)
    assert kernel_shapes(block) == sorted(
        [[3, 3, CHANNELS, middle], [3, 3, middle, filters], [1, 1, CHANNELS, filters]]
    )
    assert block.conv_shortcut.bias is None


def silence(block):
    """The main path adds nothing: its last convolution sees zeros only."""
    set_modulation(block.spade_1, -1, 0)
    block.conv_1.bias.assign(tf.zeros_like(block.conv_1.bias))


def kernel_shapes(block):
    convolutions = [block.conv_0, block.conv_1] + ([block.conv_shortcut] if block.has_learnt_shortcut else [])
    return sorted(convolution.kernel.shape.as_list() for convolution in convolutions)


def test_main_path_agrees_with_numpy(inputs):
    from scipy.signal import correlate

    block = built_block(CHANNELS, inputs)
    for spade in (block.spade_0, block.spade_1):
        set_modulation(spade, 0, 0)
    kernels = []
    for convolution in (block.conv_0, block.conv_1):
        for _ in range(200):
            convolution(inputs[0], training=True)
        kernel = convolution.kernel.numpy().astype(np.float64)
        kernels.append(kernel / np.linalg.norm(kernel.reshape(-1, CHANNELS), 2))

    out = inputs[0]
    for kernel in kernels:
        out = normalised(out)
        out = np.where(out < 0, 0.2 * out, out)
        padded = np.pad(out, ((0, 0), (1, 1), (1, 1), (0, 0)))
        out = np.stack(
            [correlate(padded, kernel[None, ..., k], mode="valid")[..., 0] for k in range(CHANNELS)], axis=-1
        )
    np.testing.assert_allclose(block(inputs, training=True), inputs[0] + out, atol=2e-3)
