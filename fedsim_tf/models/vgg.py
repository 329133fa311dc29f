"""VGG-19 features for perceptual losses (Johnson et al. 2016; Simonyan and Zisserman 2014)."""

from __future__ import annotations

import pathlib

import numpy as np
import tensorflow as tf

from fedsim_tf.errors import InputError

TAPS = ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1")
CHOICES = "'imagenet' (downloaded by Keras), a path to .h5 or .npz weights, or 'random'"
# Caffe's order and means: blue, green, red.
_MEAN_BGR = (103.939, 116.779, 123.68)
_BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 1))  # widths, convolutions; block 5 ends at its first


class VGG19Features:
    """Fixed features relu1_1 ... relu5_1 of grey images.

    Args:
      weights: "imagenet", a path, or "random" (seeded, He-scaled so that activations keep their scale).

    Attributes:
      source: which weights these are, for logs and records.

    Raises:
      InputError: weights that cannot be downloaded or read, or that lack a layer.
    """

    def __init__(self, weights: str, *, seed: int = 0):
        self.source = weights if weights != "random" else f"random, seed {seed}"
        network = _network(weights, seed)
        network.trainable = False
        self._features = tf.keras.Model(network.inputs, [network.get_layer(name).output for name in TAPS])

    def __call__(self, images: tf.Tensor) -> list[tf.Tensor]:
        """Images (B, y, x, 1) in [-1, 1] to five feature maps, float32."""
        grey = (tf.cast(images, tf.float32) + 1.0) * 127.5
        return self._features(tf.repeat(grey, 3, axis=-1) - tf.constant(_MEAN_BGR))


def _network(weights: str, seed: int) -> tf.keras.Model:
    if weights == "imagenet":
        try:
            return tf.keras.applications.VGG19(include_top=False, weights="imagenet")
        except Exception as error:
            raise InputError("VGG-19 weights", found=f"no download ({error})", expected=CHOICES) from error
    network = _truncated()
    if weights == "random":
        _fill_random(network, seed)
        return network
    path = pathlib.Path(weights)
    if not path.is_file():
        raise InputError(path, found="no such file", expected=CHOICES)
    if path.suffix == ".npz":
        _fill(network, _read_npz(path), path)
    else:
        try:
            network.load_weights(path, by_name=True)
        except (OSError, ValueError) as error:
            raise InputError(path, found=f"no VGG-19 weights ({error})", expected=CHOICES) from error
    return network


def _truncated() -> tf.keras.Model:
    """VGG-19 up to the last convolution that is looked at, with Keras's layer names, for images of any size."""
    out = inputs = tf.keras.Input((None, None, 3))
    for block, (width, count) in enumerate(_BLOCKS, start=1):
        if block > 1:
            out = tf.keras.layers.MaxPool2D(name=f"block{block - 1}_pool")(out)
        for number in range(1, count + 1):
            name = f"block{block}_conv{number}"
            out = tf.keras.layers.Conv2D(width, 3, padding="same", activation="relu", name=name, dtype="float32")(out)
    return tf.keras.Model(inputs, out)


def _fill_random(network: tf.keras.Model, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for layer in network.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            scale = np.sqrt(2.0 / np.prod(kernel.shape[:-1]))
            layer.set_weights([(scale * rng.standard_normal(kernel.shape)).astype(np.float32), 0 * bias])


def _fill(network: tf.keras.Model, arrays: dict[str, np.ndarray], path: pathlib.Path) -> None:
    for layer in network.layers:
        if layer.weights:
            names = [f"{layer.name}/kernel", f"{layer.name}/bias"]
            if any(name not in arrays for name in names):
                raise InputError(path, found=f"no {names[0]}", expected="Keras's VGG-19 layer names")
            layer.set_weights([arrays[name] for name in names])


def _read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Arrays by name; a kernel may be stored in 8 bits as `name|q` with `name|scale_min`."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            stored = {name: archive[name] for name in archive.files}
    except Exception as error:
        raise InputError(path, found=f"a damaged file ({error})", expected=CHOICES) from error
    arrays = {name: value for name, value in stored.items() if "|" not in name}
    for name in (name[:-2] for name in stored if name.endswith("|q")):
        scale, low = stored[f"{name}|scale_min"]
        arrays[name] = (stored[f"{name}|q"].astype(np.float64) * scale + low).astype(np.float32)
    return arrays
