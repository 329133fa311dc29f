"""Networks in bfloat16: which parts stay float32, and how far they are from float32's results."""

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.config import make_config
from fedsim_tf.models import built, precision
from fedsim_tf.models.discriminator import InstanceNormalization
from fedsim_tf.models.spectral_norm import SpectralConv2D

SIZE = 32
MODEL = {"size": SIZE, "gan_width": 8, "discriminator_width": 16, "unet_width": 4, "vgg_weights": "random"}
CONVOLUTIONS = (tf.keras.layers.Conv2D, tf.keras.layers.Conv3D)
INPUTS = {"enhancement_generator": (SIZE, SIZE, 3), "discriminator": (SIZE, SIZE, 4), "unet": (SIZE, SIZE, SIZE, 1)}


def model_config(choice):
    return make_config("demo", model={**MODEL, "precision": choice}).model


def compute_dtypes(network, kinds):
    """Of the layers of these kinds; the last one, to a single channel, is float32 in any case."""
    layers = [layer for layer in network.submodules if isinstance(layer, kinds)]
    return {layer.compute_dtype for layer in layers if getattr(layer, "filters", 0) != 1}


BFLOAT16 = model_config("bfloat16")


@pytest.fixture(params=INPUTS)
def kind(request):
    return request.param


@pytest.fixture
def networks(kind):
    """The same weights in both precisions."""
    pair = [getattr(built, kind)(model_config(choice)) for choice in ("float32", "bfloat16")]
    pair[1].set_weights(pair[0].get_weights())
    return pair


@pytest.fixture
def images(kind, rng):
    return tf.constant(rng.uniform(-1, 1, (1, *INPUTS[kind])), tf.float32)


def result(output):
    """The image, or the logits of all scales."""
    scales = [scale[-1] for scale in output] if isinstance(output, list) else [output]
    return tf.concat([tf.reshape(maps, [-1]) for maps in scales], axis=0)


def test_variables_stay_float32_and_convolutions_compute_in_bfloat16(networks):
    assert {variable.dtype for variable in networks[1].variables} == {tf.float32}
    assert compute_dtypes(networks[1], CONVOLUTIONS) == {"bfloat16"}
    assert compute_dtypes(networks[0], CONVOLUTIONS) == {"float32"}


def test_results_are_float32(networks, images):
    assert result(networks[1](images)).dtype == tf.float32


def test_statistics_of_the_gans_maps_are_float32():
    enhancer, discriminator = (built.enhancement_generator(BFLOAT16), built.discriminator(BFLOAT16))
    assert compute_dtypes(enhancer, tf.keras.layers.BatchNormalization) == {"float32"}
    assert compute_dtypes(discriminator, InstanceNormalization) == {"float32"}


def test_results_and_gradients_are_close_to_float32s(networks, images):
    results = []
    for network in networks:
        variables = network.trainable_variables
        with tf.GradientTape() as tape:
            out = result(network(images, training=True))
            loss = tf.reduce_mean(tf.square(out - 0.5))
        gradients = tape.gradient(loss, variables)
        assert all(gradient.dtype == tf.float32 for gradient in gradients)
        results.append((out.numpy(), np.concatenate([np.ravel(gradient) for gradient in gradients])))
    (out, gradient), (rounded_out, rounded_gradient) = results
    assert not np.array_equal(out, rounded_out)
    assert np.corrcoef(np.ravel(out), np.ravel(rounded_out))[0, 1] > 0.99
    cosine = gradient @ rounded_gradient / (np.linalg.norm(gradient) * np.linalg.norm(rounded_gradient))
    assert cosine > 0.97


def test_spectral_norm_divides_by_the_float32_kernels_own(rng):
    with precision.computing_in("bfloat16"):
        layer = SpectralConv2D(6, 3, padding="same")
        layer(tf.zeros((1, 8, 8, 5)))
    images = rng.normal(size=(1, 8, 8, 5)).astype(np.float32)
    for _ in range(50):
        out = layer(images, training=True)
    assert out.dtype == tf.bfloat16
    sigma = np.linalg.svd(layer.kernel.numpy().reshape(-1, 6), compute_uv=False)[0]
    expected = tf.nn.conv2d(images, layer.kernel.numpy() / sigma, 1, "SAME")
    np.testing.assert_allclose(tf.cast(out, tf.float32), expected, atol=0.02 * np.abs(expected).max())


def test_vgg_features_in_bfloat16(rng):
    images = rng.uniform(-1, 1, (1, SIZE, SIZE, 1)).astype(np.float32)
    exact, rounded = (built.vgg_features(model_config(choice))(images) for choice in ("float32", "bfloat16"))
    assert {maps.dtype for maps in rounded} == {tf.bfloat16}
    for found, expected in zip(rounded, exact, strict=True):
        error = np.linalg.norm(tf.cast(found, tf.float32) - expected) / np.linalg.norm(expected)
        assert error < 0.02


def test_a_choice_is_kept_and_auto_asks_the_machine(monkeypatch):
    assert [precision.resolved(choice) for choice in ("float32", "bfloat16")] == ["float32", "bfloat16"]
    for fast, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(precision, "has_fast_bfloat16", lambda fast=fast: fast)
        assert precision.resolved("auto") == expected


@pytest.mark.parametrize(("flags", "fast"), [("fpu sse2 avx512_bf16", True), ("fpu avx512f avx512vl", False)])
def test_the_processors_flags_decide(monkeypatch, flags, fast):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr(precision.pathlib.Path, "read_text", lambda self, encoding: f"flags : {flags}\n")
    assert precision.has_fast_bfloat16.__wrapped__() is fast


@pytest.mark.parametrize(("capability", "fast"), [((7, 5), False), ((9, 0), True)])
def test_a_gpus_compute_capability_decides(monkeypatch, capability, fast):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": capability})
    assert precision.has_fast_bfloat16.__wrapped__() is fast


def test_the_policy_is_put_back_after_an_error():
    with pytest.raises(RuntimeError), precision.computing_in("bfloat16"):
        raise RuntimeError
    assert tf.keras.mixed_precision.global_policy().name == "float32"
