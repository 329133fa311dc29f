"""G_S and G_M: from the latent vector to shape parameters and to the material map."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from fedsim_tf.models.convolution3d import SlicedConv3D

LAST_LAYER_SD = 1e-3  # of the last layers' weights: training starts at the mean
WEIGHT_LIMIT = 3.0  # standard deviations
ROTATION_LIMIT_RAD = 1.2
TRANSLATION_LIMIT_MM = 50.0
LOG_SCALE_LIMIT = 0.7


class ShapeGenerator(tf.keras.Model):
    """z (B, d) to tau_S (B, K + 7): K weights, three rotations, three translations, a log scale.

    Each parameter is bounded to a plausible range by a hyperbolic tangent that is linear around the start, the mean
    shape in the middle of the volume.

    Args:
      n_modes: K; latent_dim: d; width: of the two hidden layers.
    """

    def __init__(self, n_modes: int = 14, latent_dim: int = 64, width: int = 256, **kwargs):
        super().__init__(**kwargs)
        self.latent_dim = latent_dim
        limits = [WEIGHT_LIMIT] * n_modes + [ROTATION_LIMIT_RAD] * 3 + [TRANSLATION_LIMIT_MM] * 3 + [LOG_SCALE_LIMIT]
        self._limits = np.array(limits, np.float32)
        self.hidden = [tf.keras.layers.Dense(width, "swish") for _ in range(2)]
        self.last = tf.keras.layers.Dense(
            len(limits), kernel_initializer=tf.keras.initializers.RandomNormal(stddev=LAST_LAYER_SD), dtype="float32"
        )

    def call(self, z: tf.Tensor) -> tf.Tensor:
        for layer in self.hidden:
            z = layer(z)
        return self._limits * tf.tanh(self.last(z))


class MaterialGenerator(tf.keras.Model):
    """z (B, d) to tau_M (B, size, size, size): linear attenuation in 1/mm, never negative.

    Args:
      size: voxels along each edge, four times a power of two.
      latent_dim: d.
      mu_initial_per_mm: the constant map at the start.
      width: channels of the first map.
    """

    START = 4

    def __init__(
        self, size: int = 16, latent_dim: int = 64, *, mu_initial_per_mm: float = 0.0193, width: int = 64, **kwargs
    ):
        super().__init__(**kwargs)
        self.latent_dim, self._width, self._mu_initial = latent_dim, width, mu_initial_per_mm
        doublings = int(math.log2(size // self.START))
        self.first = tf.keras.layers.Dense(self.START**3 * width, "swish")
        self.convolutions = [
            SlicedConv3D(max(8, width // 2**level), activation="swish") for level in range(1, doublings + 1)
        ]
        self.upsample = tf.keras.layers.UpSampling3D()
        self.last = SlicedConv3D(
            1, kernel_initializer=tf.keras.initializers.RandomNormal(stddev=LAST_LAYER_SD), dtype="float32"
        )

    def call(self, z: tf.Tensor) -> tf.Tensor:
        maps = tf.reshape(self.first(z), (-1, self.START, self.START, self.START, self._width))
        for convolution in self.convolutions:
            maps = convolution(self.upsample(maps))
        # An output of zero is the initial material.
        return self._mu_initial * never_negative(1.0 + self.last(maps)[..., 0])


@tf.custom_gradient
def never_negative(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """max(x, 0) whose gradient passes where a step along it leads back: projected descent.

    Most of a CT is air, which lies at the bound, and a step too long towards it would leave a rectifier or softplus
    without a gradient to come back with. As `lower_bound` of TensorFlow Compression (Balle et al., ICLR 2017) has it,
    a gradient that would lead further below is zero, one that leads up is the identity's.
    """

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return tf.where((x >= 0.0) | (upstream < 0.0), upstream, 0.0)

    return tf.nn.relu(x), gradient
