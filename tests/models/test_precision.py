"""Networks in bfloat16: which parts stay float32, and how far they are from float32's results."""

import subprocess
import sys
import timeit

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.config import make_config
from fedsim_tf.models import built, precision, precision_record
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
    pair = [getattr(built, kind)(model_config(choice), seed=0) for choice in ("float32", "bfloat16")]
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
    enhancer, discriminator = built.enhancement_generator(BFLOAT16, seed=0), built.discriminator(BFLOAT16, seed=0)
    assert compute_dtypes(enhancer, tf.keras.layers.BatchNormalization) == {"float32"}
    norms = [norm for scale in discriminator.discriminators for norm in scale.norms]
    assert {norm.compute_dtype for norm in norms} == {"float32"}


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
    with precision.use_precision("bfloat16"):
        layer = SpectralConv2D(6, 3, seed=0, padding="same")
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


def times(ratio):
    """Seconds of two kinds of convolution, with bfloat16's as a multiple of float32's."""
    return {"2-D": {"float32": 0.02, "bfloat16": 0.02 * ratio}, "3-D": {"float32": 0.1, "bfloat16": 0.1 * ratio}}


@pytest.fixture
def measurements(monkeypatch):
    """A list of what later measurements find; each takes the next."""
    found = []
    monkeypatch.setattr(precision, "measure_convolutions", lambda: found.pop(0))
    return found


@pytest.mark.parametrize("choice", ["float32", "bfloat16"])
def test_a_configured_precision_is_kept_without_measuring(measurements, tmp_path, choice):
    assert precision.resolve_precision(choice, cache_dir=tmp_path) == choice
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("ratio", "expected"), [(1.7, "float32"), (0.95, "float32"), (0.5, "bfloat16")])
def test_auto_is_bfloat16_where_it_is_clearly_faster(measurements, ratio, expected):
    measurements.append(times(ratio))
    assert precision.resolve_precision("auto") == expected


def test_kinds_of_convolutions_count_alike_however_long_they_take():
    seconds = {"short": {"float32": 0.001, "bfloat16": 0.00025}, "long": {"float32": 1.0, "bfloat16": 1.5}}
    assert precision.choose_precision(seconds) == "bfloat16"


def test_an_answer_is_measured_once_for_a_cache_folder(measurements, tmp_path):
    measurements.append(times(0.5))
    config = make_config("demo", model={"precision": "auto"})
    assert precision_record.read_precision(tmp_path) is None
    assert precision.pin_precision(config, cache_dir=tmp_path).model.precision == "bfloat16"
    assert measurements == []  # a further measurement would fail
    assert precision.pin_precision(config, cache_dir=tmp_path).model.precision == "bfloat16"
    assert precision_record.read_precision(tmp_path) == "bfloat16"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"precision": "float16"}', '{"precision": "bfloat16"}'])
def test_an_unreadable_answer_is_measured_anew(measurements, tmp_path, content):
    precision_record.keep_precision(tmp_path, "bfloat16", seconds=times(0.5))
    (file,) = tmp_path.rglob("*.json")
    file.write_text(content)
    measurements.append(times(2.0))
    assert precision_record.read_precision(tmp_path) is None
    assert precision.resolve_precision("auto", cache_dir=tmp_path) == "float32"
    assert precision_record.read_precision(tmp_path) == "float32"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_processor", lambda: "another processor"),
        ("_gpus", lambda: ["NVIDIA H100"]),
        ("_versions", lambda: {"tensorflow": "9.9"}),
        ("_threads", lambda: 64),
    ],
)
def test_another_machine_measures_for_itself(monkeypatch, tmp_path, name, value):
    precision_record.keep_precision(tmp_path, "bfloat16", seconds=times(0.5))
    monkeypatch.setattr(precision_record, name, value)
    assert precision_record.read_precision(tmp_path) is None


def test_processors_of_one_name_are_told_apart_by_their_instructions(monkeypatch, tmp_path):
    names = []
    for flags in ("fpu avx512f avx512_bf16", "fpu avx2"):
        file = tmp_path / flags
        file.write_text(f"processor : 0\nmodel name\t: AMD EPYC\nflags\t: {flags}\ncpu MHz : 1.0\n\nprocessor : 1\n")
        monkeypatch.setattr(precision_record, "_CPUS", file)
        names.append(precision_record._processor())
    assert all(name.startswith("AMD EPYC, ") for name in names)
    assert names[0] != names[1]


def test_a_cache_that_cannot_be_written_is_done_without(measurements, tmp_path):
    (tmp_path / precision_record.FOLDER).write_text("a file where the folder should be")
    measurements.append(times(0.5))
    assert precision.resolve_precision("auto", cache_dir=tmp_path) == "bfloat16"


def test_a_kept_answer_is_read_without_tensorflow(tmp_path):
    precision_record.keep_precision(tmp_path, "bfloat16", seconds=times(0.5))
    code = (
        "import sys; from fedsim_tf.models.precision_record import read_precision; "
        f"read_precision({str(tmp_path)!r}); sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_measuring_takes_two_seconds():
    found = []
    taken = timeit.timeit(lambda: found.append(precision.measure_convolutions.__wrapped__()), number=1)
    assert list(found[0]) == ["2-D", "3-D", "raised"]
    assert all(list(seconds) == ["float32", "bfloat16"] for seconds in found[0].values())
    assert all(0 < value < 1 for seconds in found[0].values() for value in seconds.values())
    assert taken < 20  # two on an idle machine


def test_the_policy_is_put_back_after_an_error():
    with pytest.raises(RuntimeError), precision.use_precision("bfloat16"):
        raise RuntimeError
    assert tf.keras.mixed_precision.global_policy().name == "float32"
