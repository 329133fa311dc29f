"""VGG-19 features for perceptual losses (Johnson et al. 2016; Simonyan and Zisserman 2014)."""

from __future__ import annotations

import contextlib
import os
import pathlib

import numpy as np
import tensorflow as tf

from fedsim_tf.errors import InputError
from fedsim_tf.files import hold_during
from fedsim_tf.float32 import forbid_tf32
from fedsim_tf.models.vgg_weights import CHOICES, Layer, draw_layers, pick_layers, read_layers

TAPS = ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1")
# Caffe's order and means: blue, green, red.
_MEAN_BGR = (103.939, 116.779, 123.68)
_DOWNLOAD_SECONDS = 3600.0  # how long another process's download is waited for
_DTYPES = ("float32", "bfloat16")


class VGG19Features:
    """The fixed features relu1_1 ... relu5_1 of grey images.

    Args:
      weights: "imagenet", a path, or "random" (scaled so that CT slices differ as much as by ImageNet's weights).
      seed: what random weights are drawn from.
      dtype: what the convolutions compute in, "float32" or "bfloat16".

    Attributes:
      source: which weights these are, for logs and records.

    Raises:
      InputError: weights that cannot be downloaded or read, or that lack a layer; another dtype.
    """

    def __init__(self, weights: str, *, seed: int = 0, dtype: str = "float32"):
        if dtype not in _DTYPES:
            raise InputError("dtype", found=repr(dtype), expected=" or ".join(map(repr, _DTYPES)))
        forbid_tf32()
        self.source = weights if weights != "random" else f"random, seed {seed}"
        layers = _open_layers(weights, seed)
        self._dtype = dtype
        self._layers = {name: FixedConvolution(*layer, dtype=dtype) for name, layer in layers.items()}

    def __call__(self, images: tf.Tensor) -> list[tf.Tensor]:
        """Return five feature maps (B, y', x', C) of images (B, y, x, 1) in [-1, 1]."""
        grey = (tf.cast(images, tf.float32) + 1.0) * 127.5
        maps = tf.cast(tf.repeat(grey, 3, axis=-1) - tf.constant(_MEAN_BGR), self._dtype)
        features: list[tf.Tensor] = []
        for name, layer in self._layers.items():
            if name.endswith("conv1") and features:
                maps = tf.nn.max_pool2d(maps, 2, 2, "VALID")
            maps = tf.nn.relu(layer(maps))
            if name in TAPS:
                features.append(maps)
        return features


class FixedConvolution:
    """A 3 x 3 convolution with "same" padding whose weights never change.

    The gradient of its input is the convolution with the mirrored kernel. On CPUs, TensorFlow's own gradient has the
    same values but takes up to thirty times longer where maps are small and channels many.

    Args:
      kernel: weights (3, 3, inputs, outputs).
      bias: (outputs,).
      dtype: what it computes in.
    """

    def __init__(self, kernel: np.ndarray, bias: np.ndarray, *, dtype: str = "float32"):
        # These are variables because a traced graph would copy constants, and print them into its summaries.
        mirrored = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
        self._kernel, self._mirrored, self._bias = (
            tf.Variable(tf.cast(array, dtype), trainable=False) for array in (kernel, mirrored, bias)
        )
        self._convolve = tf.custom_gradient(self._convolve_with_gradient)

    def __call__(self, maps: tf.Tensor) -> tf.Tensor:
        return self._convolve(maps)

    def _convolve_with_gradient(self, maps: tf.Tensor):
        kernel, mirrored, bias = self._kernel.value(), self._mirrored.value(), self._bias.value()
        out = tf.nn.bias_add(tf.nn.conv2d(maps, kernel, 1, "SAME"), bias)
        return out, lambda upstream: tf.nn.conv2d(upstream, mirrored, 1, "SAME")


def _open_layers(weights: str, seed: int) -> dict[str, Layer]:
    if weights == "imagenet":
        return pick_layers(_download(), weights)
    return draw_layers(seed) if weights == "random" else read_layers(weights)


def _download() -> dict[str, np.ndarray]:
    try:
        with _hold_download():
            network = tf.keras.applications.VGG19(include_top=False, weights="imagenet")
    except Exception as error:
        raise InputError("VGG-19 weights", found=f"no download ({error})", expected=CHOICES) from error
    layers = [layer for layer in network.layers if layer.weights]
    kinds = ("kernel", "bias")
    return {
        f"{layer.name}/{kind}": value
        for layer in layers
        for kind, value in zip(kinds, layer.get_weights(), strict=True)
    }


def _hold_download() -> contextlib.AbstractContextManager[None]:
    """Return a context that one process at a time can enter.

    Keras writes the file in place: a process that starts meanwhile would read half of it.
    """
    folder = pathlib.Path.home() / ".keras"
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
    writable = os.access(folder, os.W_OK)  # where it is not, Keras uses another folder
    return hold_during(folder, seconds=_DOWNLOAD_SECONDS) if writable else contextlib.nullcontext()
