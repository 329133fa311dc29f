"""Convolution with spectral normalisation (Miyato et al., ICLR 2018)."""

from __future__ import annotations

import tensorflow as tf


class SpectralConv2D(tf.keras.layers.Conv2D):
    """A convolution by W / sigma(W), sigma estimated by one power iteration a training call.

    W itself is kept, and the gradient flows through sigma = u^T W v with u and v held constant, as Miyato et al. derive
    it. Keras's and tensorflow-addons' wrappers overwrite W and stop that gradient.
    """

    def add_weight(self, *args, **kwargs):
        """Read in float32 under every policy: sigma of a rounded W would not be W's."""
        return super().add_weight(*args, **{**kwargs, "experimental_autocast": False})

    def build(self, input_shape):
        super().build(input_shape)
        start = tf.keras.initializers.RandomNormal()
        self.u = self.add_weight("u", (1, self.filters), tf.float32, start, trainable=False)

    def call(self, inputs, training=False):
        matrix = tf.reshape(self.kernel, (-1, self.filters))  # (fan in, fan out)
        u = self.u
        v = tf.math.l2_normalize(tf.matmul(u, tf.stop_gradient(matrix), transpose_b=True))
        if training:
            u = tf.math.l2_normalize(tf.matmul(v, tf.stop_gradient(matrix)))
            self.u.assign(u)
        u, v = tf.stop_gradient(u), tf.stop_gradient(v)
        sigma = tf.reduce_sum(tf.matmul(v, matrix) * u)
        outputs = self.convolution_op(inputs, tf.cast(self.kernel / sigma, self.compute_dtype))
        if self.use_bias:
            outputs = tf.nn.bias_add(outputs, tf.cast(self.bias, self.compute_dtype))
        return outputs if self.activation is None else self.activation(outputs)
