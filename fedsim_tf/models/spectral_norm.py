"""Convolution with spectral normalisation (Miyato et al., ICLR 2018)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fedsim_tf.models.arguments import check_counts, check_seed
from fedsim_tf.models.initializers import derive_seed, normal, xavier


class SpectralConv2D(tf.keras.layers.Conv2D):
    """A convolution by W / sigma(W), where each training call brings the estimate of sigma one power iteration further.

    W itself is kept, and the gradient flows through sigma = u^T W v with u and v held constant, as Miyato et al. derive
    it. Keras's and tensorflow-addons' wrappers overwrite W and stop that gradient.

    Args:
      filters: channels of the result.
      size: pixels along each edge of the kernel.
      seed: what the initial kernel (Xavier's, unless another initializer is given) and u are drawn from.

    Raises:
      InputError: filters or a size below one, or a seed that is not a whole number.
    """

    def __init__(self, filters: int, size: int, *, seed: int, **kwargs: Any):
        check_counts(filters=filters, size=size)
        check_seed(seed)
        super().__init__(filters, size, **{"kernel_initializer": xavier(derive_seed(seed, "kernel")), **kwargs})
        self.seed = seed

    def add_weight(self, *args, **kwargs):
        """Add a weight that is read in float32 under every policy: sigma of a rounded W would not be W's."""
        return super().add_weight(*args, **{**kwargs, "experimental_autocast": False})

    def build(self, input_shape):
        super().build(input_shape)
        start = normal(derive_seed(self.seed, "u"))
        self.u = self.add_weight("u", (1, self.filters), tf.float32, start, trainable=False)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Return maps (B, y', x', filters) for maps (B, y, x, C)."""
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
