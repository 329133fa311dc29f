"""Spatially adaptive normalisation and its residual block (Park et al., CVPR 2019)."""

from __future__ import annotations

import tensorflow as tf

from fedsim_tf.models.initializers import xavier
from fedsim_tf.models.spectral_norm import SpectralConv2D

HIDDEN = 128  # channels of the map from which scale and shift are made
SLOPE = 0.2

Pair = tuple[tf.Tensor, tf.Tensor]  # features (B, y, x, C) and semantics (B, Y, X, S)


class Spade(tf.keras.layers.Layer):
    """Batch norm without parameters, then a scale and shift for each pixel, made from the semantics."""

    def build(self, input_shape):
        channels = input_shape[0][-1]
        self.norm = tf.keras.layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, center=False, scale=False, dtype="float32"
        )
        self.shared = tf.keras.layers.Conv2D(HIDDEN, 3, padding="same", activation="relu", kernel_initializer=xavier())
        self.gamma = tf.keras.layers.Conv2D(channels, 3, padding="same", kernel_initializer=xavier())
        self.beta = tf.keras.layers.Conv2D(channels, 3, padding="same", kernel_initializer=xavier())
        for layer in (self.gamma, self.beta):  # called together, so never built by a call of their own
            layer.build((None, None, None, HIDDEN))
        super().build(input_shape)

    def call(self, inputs: Pair, training: bool = False) -> tf.Tensor:
        features, semantics = inputs
        normal = tf.cast(self.norm(tf.cast(features, tf.float32), training=training), features.dtype)
        hidden = self.shared(tf.image.resize(semantics, tf.shape(features)[1:3], "nearest"))
        gamma, beta = tf.split(self._modulation(hidden), 2, axis=-1)
        return normal * (1 + gamma) + beta

    def _modulation(self, hidden: tf.Tensor) -> tf.Tensor:
        """Scale and shift (B, y, x, 2 C) by one convolution: two narrow ones take much longer."""
        kernel = tf.concat([self.gamma.kernel, self.beta.kernel], axis=-1)
        bias = tf.concat([self.gamma.bias, self.beta.bias], axis=-1)
        return tf.nn.bias_add(tf.nn.conv2d(hidden, kernel, 1, "SAME"), bias)


class SpadeResidualBlock(tf.keras.layers.Layer):
    """Twice SPADE, leaky ReLU and convolution, beside a shortcut that is learnt where the width changes."""

    def __init__(self, filters: int, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape):
        channels = input_shape[0][-1]
        self.spade_0, self.spade_1 = Spade(), Spade()
        self.conv_0 = _convolution(min(channels, self.filters), 3)
        self.conv_1 = _convolution(self.filters, 3)
        self.has_learnt_shortcut = channels != self.filters
        if self.has_learnt_shortcut:
            self.spade_shortcut, self.conv_shortcut = Spade(), _convolution(self.filters, 1, use_bias=False)
        super().build(input_shape)

    def call(self, inputs: Pair, training: bool = False) -> tf.Tensor:
        _, semantics = inputs
        out = tf.nn.leaky_relu(self.spade_0(inputs, training=training), SLOPE)
        out = self.conv_0(out, training=training)
        out = tf.nn.leaky_relu(self.spade_1((out, semantics), training=training), SLOPE)
        return self._shortcut(inputs, training) + self.conv_1(out, training=training)

    def _shortcut(self, inputs: Pair, training: bool) -> tf.Tensor:
        if not self.has_learnt_shortcut:
            return inputs[0]
        return self.conv_shortcut(self.spade_shortcut(inputs, training=training), training=training)


def _convolution(filters: int, size: int, *, use_bias: bool = True) -> SpectralConv2D:
    return SpectralConv2D(filters, size, padding="same", use_bias=use_bias, kernel_initializer=xavier())
