import hashlib

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from fedsim_tf.errors import InputError
from fedsim_tf.files import lock_file
from fedsim_tf.losses import PERCEPTUAL_WEIGHTS
from fedsim_tf.models.vgg import VGG19Features
from fedsim_tf.models.vgg_weights import RANDOM_GAINS, RANDOM_WIDTHS, are_noted_weights, identify_weights
from tests.oracles import seeded

CONVOLUTIONS = (2, 2, 4, 4, 1)  # of blocks 1 to 5, as far as relu5_1
# Of `distances_to_blurred`, measured with ImageNet's weights of Keras (blocks 4 and 5 stored in 8 bits).
IMAGENET_DISTANCES = (13.54, 107.06, 158.88, 671.13, 96.06)


@pytest.fixture(scope="module")
def weights_path(real_data):
    return real_data("vgg19/vgg19_notop_mixed.npz")


@pytest.fixture(scope="module")
def pretrained(weights_path):
    return VGG19Features(str(weights_path))


@pytest.fixture(scope="module")
def untrained():
    return VGG19Features("random", seed=3)


def slices(rng, count=2, size=16):
    return rng.uniform(-1, 1, (count, size, size, 1)).astype(np.float32)


def numpy_convolution(images, kernel, bias):
    """3 x 3 with zeros around, then ReLU."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = images.shape[1:3]
    out = sum(padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3))
    return np.maximum(out + bias, 0)


def numpy_pool(images):
    n, height, width, channels = images.shape
    return images.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))


def numpy_features(stored, images):
    """relu1_1 ... relu5_1 in float64 for grey images in [-1, 1], blue first."""

    def kernel(name):
        if f"{name}|q" not in stored:
            return stored[name].astype(np.float64)
        scale, low = stored[f"{name}|scale_min"]
        return low + scale * stored[f"{name}|q"].astype(np.float64)

    grey = 255 * (images.astype(np.float64) + 1) / 2
    out = np.concatenate([grey - 103.939, grey - 116.779, grey - 123.68], axis=-1)
    features = []
    for block, count in enumerate(CONVOLUTIONS, start=1):
        out = out if block == 1 else numpy_pool(out)
        for number in range(1, count + 1):
            name = f"block{block}_conv{number}"
            out = numpy_convolution(out, kernel(f"{name}/kernel"), stored[f"{name}/bias"])
            if number == 1:
                features.append(out)
    return features


def assert_one_line_that_names(path, error):
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_pretrained_features_agree_with_numpy(weights_path, pretrained, rng):
    images = slices(rng)
    expected = numpy_features(np.load(weights_path), images)
    found = pretrained(images)
    assert [maps.shape.as_list() for maps in found] == [list(maps.shape) for maps in expected]
    for maps, truth in zip(found, expected, strict=True):
        np.testing.assert_allclose(maps, truth, atol=1e-4 * truth.max())


def test_record_names_the_weights(weights_path, pretrained, untrained):
    assert pretrained.source == str(weights_path)
    assert untrained.source == "random, seed 3"


def test_slices_of_16_pixels_survive_and_larger_ones_too(untrained, rng):
    for size in (16, 32):
        shapes = [maps.shape.as_list() for maps in untrained(slices(rng, 1, size))]
        assert shapes == [[1, size >> level, size >> level, width] for level, width in enumerate(RANDOM_WIDTHS)]


def test_features_are_float32_and_not_negative(untrained, rng):
    for maps in untrained(tf.constant(slices(rng), tf.bfloat16)):
        assert maps.dtype == tf.float32
        assert maps.numpy().min() >= 0


def test_random_weights_are_the_same_for_the_same_seed_only(untrained, rng):
    images = slices(rng)
    features = untrained(images)
    for maps, again, other in zip(
        features, VGG19Features("random", seed=3)(images), VGG19Features("random", seed=4)(images), strict=True
    ):
        np.testing.assert_array_equal(maps, again)
        assert np.abs(maps - other).max() > 0.1 * np.abs(maps).max()


def like_cts(count=8, size=32):
    """Seeded images of blobs of air, lung, soft tissue, contrast agent and bone in some noise, (B, y, x, 1)."""
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.standard_normal((count, size, size)), (0, size / 10, size / 10))
    tissue = np.digitize(smooth / smooth.std(), [-0.5, 0.2, 0.7, 1.2, 1.8])
    images = np.array([-0.9, -0.85, 0.0, 0.05, 0.3, 0.8])[tissue]
    return (images + 0.03 * rng.standard_normal(images.shape)).astype(np.float32)[..., None]


def distances_to_blurred(features):
    """Mean absolute differences at each level between images and copies that were four times smaller in between."""
    images = like_cts()
    edge = images.shape[1]
    blurred = tf.image.resize(tf.image.resize(images, (edge // 4,) * 2, antialias=True), (edge, edge))
    return [float(tf.reduce_mean(tf.abs(a - b))) for a, b in zip(features(images), features(blurred), strict=True)]


def test_imagenet_features_have_the_recorded_distances(pretrained):
    assert distances_to_blurred(pretrained) == pytest.approx(IMAGENET_DISTANCES, rel=0.01)


def test_random_features_of_images_differ_about_as_much_as_imagenets():
    """The weights that runs have: those of seed 0."""
    found = distances_to_blurred(VGG19Features("random"))
    ratios = np.divide(found, IMAGENET_DISTANCES)
    assert (ratios.min(), ratios.max()) == pytest.approx((1, 1), rel=0.55)
    totals = [np.dot(PERCEPTUAL_WEIGHTS, distances) for distances in (found, IMAGENET_DISTANCES)]
    assert totals[0] / totals[1] == pytest.approx(1, rel=0.5)


def test_random_weights_are_hes_times_the_gain_of_each_level(rng):
    """Without biases a factor of one layer is one of all features from there on."""
    plain, images = seeded.vgg_arrays(seed=3, widths=RANDOM_WIDTHS), slices(rng)
    expected = numpy_features(plain, images)
    for maps, truth, gain in zip(VGG19Features("random", seed=3)(images), expected, RANDOM_GAINS, strict=True):
        np.testing.assert_allclose(maps, gain * truth, rtol=1e-3, atol=1e-4 * gain * truth.max())


def test_runs_note_which_weights_they_have(tmp_path):
    """Random weights of the first version were noted as "random", or were not noted."""
    file = tmp_path / "vgg.npz"
    file.write_bytes(b"weights")
    for weights, noted, others in (
        ("imagenet", "imagenet", "random"),
        ("random", "random, version 3", "random"),
        (str(file), hashlib.sha256(b"weights").hexdigest(), "imagenet"),
    ):
        assert identify_weights(weights) == noted
        assert are_noted_weights(weights, noted)
        assert not are_noted_weights(weights, others)
        assert are_noted_weights(weights, None) == (weights != "random")


def test_gradient_reaches_every_pixel(untrained, rng):
    images = tf.Variable(slices(rng))
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(untrained(images)[-1])
    gradient = tape.gradient(value, images)
    assert np.isfinite(gradient).all()
    assert np.mean(np.abs(gradient) > 0) > 0.95


def test_missing_file(tmp_path):
    path = tmp_path / "vgg.npz"
    with pytest.raises(InputError, match="no such file") as error:
        VGG19Features(str(path))
    assert_one_line_that_names(path, error)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"\x00" * 100])
@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_damaged_file(tmp_path, content, suffix):
    path = tmp_path / f"vgg{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        VGG19Features(str(path))
    assert_one_line_that_names(path, error)


def test_file_damaged_in_the_middle(tmp_path, weights_path):
    content = bytearray(weights_path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 1000] = bytes(1000)
    path = tmp_path / "vgg.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged") as error:
        VGG19Features(str(path))
    assert_one_line_that_names(path, error)


def test_archive_without_a_layer(tmp_path):
    path = tmp_path / "vgg.npz"
    np.savez(path, **{"block1_conv1/kernel": np.zeros((3, 3, 3, 64)), "block1_conv1/bias": np.zeros(64)})
    with pytest.raises(InputError, match="block1_conv2") as error:
        VGG19Features(str(path))
    assert_one_line_that_names(path, error)


def test_archive_with_a_layer_of_the_wrong_shape(tmp_path):
    path = tmp_path / "vgg.npz"
    np.savez(path, **{"block1_conv1/kernel": np.zeros((3, 3, 1, 64)), "block1_conv1/bias": np.zeros(64)})
    with pytest.raises(InputError) as error:
        VGG19Features(str(path))
    assert_one_line_that_names(path, error)


def test_archive_with_a_compressed_kernel_without_its_scale(tmp_path):
    path = tmp_path / "vgg.npz"
    np.savez(path, **{"block1_conv1/kernel|q": np.zeros((3, 3, 3, 64), np.uint8), "block1_conv1/bias": np.zeros(64)})
    with pytest.raises(InputError) as error:
        VGG19Features(str(path))
    assert_one_line_that_names(path, error)


def test_keras_file_without_a_layer(tmp_path):
    path = tmp_path / "vgg.h5"
    first = tf.keras.layers.Conv2D(64, 3, padding="same", name="block1_conv1")
    tf.keras.Sequential([tf.keras.Input((8, 8, 3)), first]).save_weights(path)
    with pytest.raises(InputError) as error:
        VGG19Features(str(path))
    assert_one_line_that_names(path, error)


def test_keras_file_gives_keras_features(tmp_path, rng):
    path = tmp_path / "vgg.h5"
    keras_vgg = tf.keras.applications.VGG19(include_top=False, weights=None)
    keras_vgg.save_weights(path)
    layer = keras_vgg.get_layer("block3_conv1")
    images = slices(rng)
    caffe = tf.keras.applications.vgg19.preprocess_input(np.repeat(127.5 * (images + 1), 3, axis=-1))
    expected = tf.keras.Model(keras_vgg.inputs, layer.output)(caffe)
    np.testing.assert_allclose(VGG19Features(str(path))(images)[2], expected, atol=1e-4 * np.max(expected))


def test_one_process_downloads_at_a_time(tmp_path, monkeypatch):
    """Keras writes the file in place: another process must not find half of it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    lock = tmp_path / ".keras" / ".lock"

    def no_download(**_):
        assert lock_file(lock) is None
        raise OSError("no network")

    monkeypatch.setattr(tf.keras.applications, "VGG19", no_download)
    with pytest.raises(InputError, match=r"no download \(no network\)"):
        VGG19Features("imagenet")
    with lock_file(lock) as free:
        assert free is not None
