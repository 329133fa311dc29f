"""Spatially adaptive normalisation and its residual block (Park et al., CVPR 2019)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fedsim_tf.models.arguments import check_counts, check_seed
from fedsim_tf.models.initializers import derive_seed, name_part, xavier
from fedsim_tf.models.sizes import sizes
from fedsim_tf.models.spectral_norm import SpectralConv2D

HIDDEN = 128  # channels of the map from which scale and shift are made
SLOPE = 0.2

Pair = tuple[tf.Tensor, tf.Tensor]  # features (B, y, x, C) and semantics (B, Y, X, S)


class Spade(tf.keras.layers.Layer):
    """Batch norm without parameters, then a scale and a shift of each pixel that are made from the semantics.

    Args:
      seed: what initial values are drawn from.

    Raises:
      InputError: a seed that is not a whole number.
    """

    def __init__(self, *, seed: int, **kwargs: Any):
        check_seed(seed)
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, input_shape):
        channels = input_shape[0][-1]
        self.norm = tf.keras.layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, center=False, scale=False, dtype="float32", name="norm"
        )
        self.shared = self._convolution(HIDDEN, "shared", activation="relu")
        self.gamma = self._convolution(channels, "gamma")
        self.beta = self._convolution(channels, "beta")
        for layer in (self.gamma, self.beta):  # `_modulate` reads their kernels, so they are never called
            layer.build((None, None, None, HIDDEN))
        super().build(input_shape)

    def call(self, inputs: Pair, training: bool = False) -> tf.Tensor:
        """Return features (B, y, x, C), normalised and modulated by the semantics (B, Y, X, S)."""
        features, semantics = inputs
        normal = tf.cast(self.norm(tf.cast(features, tf.float32), training=training), features.dtype)
        hidden = self.shared(tf.image.resize(semantics, sizes(features)[1:3], "nearest"))
        gamma, beta = tf.split(self._modulate(hidden), 2, axis=-1)
        return normal * (1 + gamma) + beta

    def _modulate(self, hidden: tf.Tensor) -> tf.Tensor:
        """Return scale and shift (B, y, x, 2 C) by one convolution: two narrow ones take much longer."""
        kernel = tf.concat([self.gamma.kernel, self.beta.kernel], axis=-1)
        bias = tf.concat([self.gamma.bias, self.beta.bias], axis=-1)
        return tf.nn.bias_add(tf.nn.conv2d(hidden, kernel, 1, "SAME"), bias)

    def _convolution(self, filters: int, name: str, **kwargs: Any) -> tf.keras.layers.Conv2D:
        start = xavier(derive_seed(self.seed, name))
        return tf.keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer=start, name=name, **kwargs)


class SpadeResidualBlock(tf.keras.layers.Layer):
    """SPADE, leaky ReLU and convolution, twice, beside a shortcut that is learnt where the width changes.

    Args:
      filters: channels of the result.
      seed: what initial values are drawn from.

    Raises:
      InputError: filters below one, or a seed that is not a whole number.
    """

    def __init__(self, filters: int, *, seed: int, **kwargs: Any):
        check_counts(filters=filters)
        check_seed(seed)
        super().__init__(**kwargs)
        self.filters, self.seed = filters, seed

    def build(self, input_shape):
        channels = input_shape[0][-1]
        self.spade_0, self.spade_1 = (Spade(**name_part(self.seed, name)) for name in ("spade_0", "spade_1"))
        self.conv_0 = self._convolution(min(channels, self.filters), 3, "conv_0")
        self.conv_1 = self._convolution(self.filters, 3, "conv_1")
        self.has_learnt_shortcut = channels != self.filters
        if self.has_learnt_shortcut:
            self.spade_shortcut = Spade(**name_part(self.seed, "spade_shortcut"))
            self.conv_shortcut = self._convolution(self.filters, 1, "conv_shortcut", use_bias=False)
        super().build(input_shape)

    def call(self, inputs: Pair, training: bool = False) -> tf.Tensor:
        """Return features (B, y, x, filters) for features (B, y, x, C) and semantics (B, Y, X, S)."""
        _, semantics = inputs
        out = tf.nn.leaky_relu(self.spade_0(inputs, training=training), SLOPE)
        out = self.conv_0(out, training=training)
        out = tf.nn.leaky_relu(self.spade_1((out, semantics), training=training), SLOPE)
        return self._shortcut(inputs, training) + self.conv_1(out, training=training)

    def _shortcut(self, inputs: Pair, training: bool) -> tf.Tensor:
        if not self.has_learnt_shortcut:
            return inputs[0]
        return self.conv_shortcut(self.spade_shortcut(inputs, training=training), training=training)

    def _convolution(self, filters: int, size: int, name: str, *, use_bias: bool = True) -> SpectralConv2D:
        return SpectralConv2D(filters, size, padding="same", use_bias=use_bias, **name_part(self.seed, name))
