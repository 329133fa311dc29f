"""The two-scale patch discriminator (Wang et al., CVPR 2018; Park et al., CVPR 2019)."""

from __future__ import annotations

import warnings

import tensorflow as tf

from fedsim_tf.models.initializers import xavier
from fedsim_tf.models.spectral_norm import SpectralConv2D

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that it is no longer developed, at every import
    from tensorflow_addons.layers import InstanceNormalization

SLOPE = 0.2


class PatchDiscriminator(tf.keras.layers.Layer):
    """Five 4 x 4 convolutions with padding 2: images (B, y, x, C) to all feature maps, the logits last."""

    def __init__(self, width: int, **kwargs):
        super().__init__(**kwargs)
        self.first = tf.keras.layers.Conv2D(width, 4, 2, kernel_initializer=xavier())
        self.middle = [
            SpectralConv2D(filters, 4, stride, use_bias=False, kernel_initializer=xavier())
            for filters, stride in ((2 * width, 2), (4 * width, 2), (8 * width, 1))
        ]
        # In bfloat16 the addons' layer loses precision.
        self.norms = [
            InstanceNormalization(center=False, scale=False, epsilon=1e-5, dtype="float32") for _ in self.middle
        ]
        self.last = tf.keras.layers.Conv2D(1, 4, 1, kernel_initializer=xavier(), dtype="float32")

    def call(self, images: tf.Tensor, training: bool = False) -> list[tf.Tensor]:
        maps = [tf.nn.leaky_relu(self.first(_padded(images)), SLOPE)]
        for convolution, norm in zip(self.middle, self.norms, strict=True):
            features = convolution(_padded(maps[-1]), training=training)
            normal = tf.cast(norm(tf.cast(features, tf.float32)), features.dtype)
            maps.append(tf.nn.leaky_relu(normal, SLOPE))
        return [*maps, self.last(_padded(maps[-1]))]


class MultiScaleDiscriminator(tf.keras.Model):
    """Semantics and image (B, y, x, 4) to the feature maps of each scale; each scale sees half the resolution.

    Args:
      width: channels of the first layer.
      scales: number of discriminators.
    """

    def __init__(self, width: int = 64, scales: int = 2, **kwargs):
        super().__init__(**kwargs)
        self.judges = [PatchDiscriminator(width) for _ in range(scales)]

    def call(self, images: tf.Tensor, training: bool = False) -> list[list[tf.Tensor]]:
        maps = []
        for judge in self.judges:
            maps.append(judge(images, training=training))
            images = halved(images)
        return maps


def halved(images: tf.Tensor) -> tf.Tensor:
    """Average pool of 3 with stride 2 and padding 1 that does not count."""
    counted = tf.nn.avg_pool2d(_padded(tf.ones_like(images[:1, :, :, :1]), 1), 3, 2, "VALID")
    return tf.nn.avg_pool2d(_padded(images, 1), 3, 2, "VALID") / counted


def _padded(maps: tf.Tensor, by: int = 2) -> tf.Tensor:
    return tf.pad(maps, [[0, 0], [by, by], [by, by], [0, 0]])
