"""Gradient inversion of a small U-Net: what is found without noise, and that noise stops it."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from fedsim_tf.errors import InputError
from fedsim_tf.federated.attack import gradient_inversion, layer_inversion
from fedsim_tf.federated.attack.bottleneck import cut_patches, index_gradients, read_bottleneck
from fedsim_tf.federated.attack.gradient_inversion import GradientInversion
from fedsim_tf.federated.attack.layer_inversion import invert_level
from fedsim_tf.federated.attack.linear_guess import guess_image
from fedsim_tf.federated.attack.reconstruction import correlate
from fedsim_tf.losses import segmentation_loss
from fedsim_tf.models.unet3d import UNet3D
from fedsim_tf.training.learner import named_variables

EDGE = 16  # of a U-Net of three levels, the deepest of 4^3 voxels


def draw_patient(seed):
    """A body in air with a heart of random place and size, and a texture of its own."""
    rng = np.random.default_rng(seed)
    z, y, x = (np.indices((EDGE,) * 3) + 0.5) / EDGE - 0.5
    centre, radius = rng.uniform(-0.12, 0.12, 3), rng.uniform(0.15, 0.25)
    heart = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < radius**2
    body = (y / 0.42) ** 2 + (x / 0.46) ** 2 < 1
    texture = ndimage.gaussian_filter(rng.standard_normal((EDGE,) * 3), 1.0)
    image = np.where(body, -0.3 + 0.2 * texture / texture.std(), -1.0) + 0.5 * heart
    return np.clip(image, -1, 1).astype(np.float32), heart


def make_network(seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedsim_tf.models.unet3d.LEVELS", 3)
        network = UNet3D(width=8, seed=seed)
        network(tf.zeros((1, EDGE, EDGE, EDGE, 1)))
    return network


@pytest.fixture(scope="module")
def network():
    return make_network(0)


@pytest.fixture(scope="module")
def patient():
    return draw_patient(1)


@pytest.fixture(scope="module")
def sent(network, patient):
    """Weights and gradients as a site sends them, by TensorFlow's own differentiation of the true volume."""
    image, heart = (tf.constant(part[None, ..., None], tf.float32) for part in patient)
    with tf.GradientTape() as tape:
        loss = segmentation_loss(network(image), heart)
    variables = named_variables(unet=network)
    gradients = tape.gradient(loss, list(variables.values()))
    weights = {name: variable.numpy() for name, variable in variables.items()}
    return weights, {name: one.numpy() for name, one in zip(variables, gradients, strict=True)}


def encode(network, image):
    """What goes into the second-deepest level, and what comes out, by Keras's pooling; of images (1, z, y, x, 1)."""
    pool = tf.keras.layers.MaxPool3D(2)
    pooled = pool(network.down[0](image))
    return pooled, network.down[1](pooled)


def true_maps(network, image):
    return encode(network, tf.constant(image[None, ..., None]))


def protect(gradients, *, norm, multiplier=0.0):
    """Gradients scaled to a norm, with normal noise in units of it: that of `privatize`, but the same each time."""
    rng = np.random.default_rng(0)
    length = np.sqrt(sum(np.sum(value**2) for value in gradients.values()))
    return {
        name: (value * norm / length + norm * multiplier * rng.standard_normal(value.shape)).astype(np.float32)
        for name, value in gradients.items()
    }


def read(network, gradients):
    return read_bottleneck(network, index_gradients(named_variables(unet=network), gradients), edge=EDGE)


def test_patches_are_those_that_a_convolution_sees(rng):
    maps, kernel = rng.standard_normal((4, 4, 4, 3)), rng.standard_normal((3, 3, 3, 3, 2))
    expected = tf.nn.conv3d(maps[None], kernel, [1] * 5, "SAME")[0]
    np.testing.assert_allclose(cut_patches(maps) @ kernel.reshape(-1, 2), tf.reshape(expected, (64, 2)), atol=1e-9)


@pytest.mark.parametrize("norm", [1.0, 1e-3])
def test_skipped_maps_are_solved_for_however_short_the_gradient_is(network, patient, sent, norm):
    found = read(network, protect(sent[1], norm=norm))
    _, skipped = true_maps(network, patient[0])
    assert found.agreement > 0.999
    assert correlate(found.skipped.numpy(), skipped.numpy()) > 0.99
    other = true_maps(network, draw_patient(2)[0])[1]
    assert correlate(found.skipped.numpy(), other.numpy()) < 0.8


def test_noise_hides_the_maps(network, sent):
    assert read(network, protect(sent[1], norm=1.0, multiplier=0.01)) is None


def test_more_voxels_than_filters_are_too_many_to_solve_for(sent):
    wide = UNet3D(width=2, seed=0)  # 32 filters at the deepest level of 4^3 voxels
    wide(tf.zeros((1, 32, 32, 32, 1)))
    gradients = {name: value.numpy() for name, value in named_variables(unet=wide).items()}
    assert read_bottleneck(wide, index_gradients(named_variables(unet=wide), gradients), edge=32) is None


def test_the_inputs_of_a_level_follow_from_its_outputs_and_gradients(network, patient, sent, monkeypatch):
    monkeypatch.setattr(layer_inversion, "STEPS", 200)
    gradient_of = index_gradients(named_variables(unet=network), sent[1])
    found = invert_level(network, read(network, sent[1]), gradient_of)
    assert correlate(found.numpy(), true_maps(network, patient[0])[0].numpy()) > 0.6


def test_an_image_is_guessed_from_its_true_maps(network, patient):
    maps = true_maps(network, patient[0])
    traced = tf.function(lambda image: encode(network, image), autograph=False)
    guessed = guess_image(traced, maps, edge=EDGE, rng=np.random.default_rng(0))
    assert correlate(guessed, patient[0]) > 0.8
    assert (
        max(correlate(guessed, draw_patient(seed)[0]) for seed in range(2, 8)) < correlate(guessed, patient[0]) - 0.05
    )


@pytest.fixture(scope="module")
def attack(network):
    """The attack with a part of its budget; one of its two labels to begin at is another patient's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layer_inversion, "STEPS", 200)
        patch.setattr(gradient_inversion, "MAP_STEPS", 60)
        patch.setattr(gradient_inversion, "GRADIENT_STEPS", 20)
        yield GradientInversion(make_network(3), edge=EDGE, heart_weight=1.0, mean_heart=draw_patient(2)[1])


@pytest.fixture(scope="module")
def inverted(attack, sent):
    return attack.invert(*sent)


def test_the_volume_of_an_answer_is_found(inverted, patient):
    image, heart = patient
    assert inverted.is_solved
    assert inverted.distance < 0.15
    assert correlate(inverted.image, image) > 0.72
    others = [correlate(inverted.image, draw_patient(seed)[0]) for seed in range(2, 8)]
    assert max(others) < correlate(inverted.image, image) - 0.05
    assert np.abs(inverted.image).max() <= 1
    assert 0 <= inverted.label.min() < inverted.label.max() <= 1
    assert correlate(inverted.label, heart) > 0.6 > 2 * correlate(draw_patient(2)[1], heart)


def test_noise_defeats_the_attack(attack, inverted, sent, patient):
    weights, gradients = sent
    noisy = attack.invert(weights, protect(gradients, norm=1.0, multiplier=0.01))
    assert not noisy.is_solved
    assert correlate(noisy.image, patient[0]) < 0.3
    assert correlate(noisy.label, patient[1]) < 0.3
    assert noisy.distance > 5 * inverted.distance


def test_weights_of_another_network_are_refused(attack, sent):
    weights, gradients = sent
    with pytest.raises(InputError, match="shared weights: found others: unet/0; expected those of this configuration"):
        attack.invert({**weights, "unet/0": np.zeros(3, np.float32)}, gradients)
