"""The two-scale patch discriminator (Wang et al., CVPR 2018; Park et al., CVPR 2019)."""

from __future__ import annotations

import warnings
from typing import Any

import tensorflow as tf

from fedsim_tf import legacy_keras
from fedsim_tf.models.arguments import check_counts, check_seed
from fedsim_tf.models.initializers import derive_seed, name_part, xavier
from fedsim_tf.models.network import Network
from fedsim_tf.models.spectral_norm import SpectralConv2D

SLOPE = 0.2


class PatchDiscriminator(tf.keras.layers.Layer):
    """Five 4 x 4 convolutions with padding 2, from images (B, y, x, C) to all feature maps, the logits last.

    Args:
      width: channels of the first feature map.
      seed: what initial values are drawn from.

    Raises:
      InputError: a width below one, or a seed that is not a whole number.
    """

    def __init__(self, width: int, *, seed: int, **kwargs: Any):
        check_counts(width=width)
        check_seed(seed)
        super().__init__(**kwargs)
        self.first = tf.keras.layers.Conv2D(
            width, 4, 2, kernel_initializer=xavier(derive_seed(seed, "first")), name="first"
        )
        self.middle = [
            SpectralConv2D(filters, 4, strides=stride, use_bias=False, **name_part(seed, f"middle_{level}"))
            for level, (filters, stride) in enumerate(((2 * width, 2), (4 * width, 2), (8 * width, 1)))
        ]
        self.norms = [_make_norm(name=f"norm_{level}") for level, _ in enumerate(self.middle)]
        self.last = tf.keras.layers.Conv2D(
            1, 4, 1, kernel_initializer=xavier(derive_seed(seed, "last")), dtype="float32", name="last"
        )

    def call(self, images: tf.Tensor, training: bool = False) -> list[tf.Tensor]:
        """Return five feature maps (B, y', x', C') of images (B, y, x, C)."""
        maps = [tf.nn.leaky_relu(self.first(_pad(images)), SLOPE)]
        for convolution, norm in zip(self.middle, self.norms, strict=True):
            features = convolution(_pad(maps[-1]), training=training)
            normal = tf.cast(norm(tf.cast(features, tf.float32)), features.dtype)
            maps.append(tf.nn.leaky_relu(normal, SLOPE))
        return [*maps, self.last(_pad(maps[-1]))]


class MultiScaleDiscriminator(Network):
    """Patch discriminators, each of which sees the images at half the resolution of the one before.

    Args:
      width: channels of each discriminator's first feature map.
      scales: number of discriminators.
      seed: what initial values are drawn from.

    Raises:
      InputError: a width or a number of scales below one, or a seed that is not a whole number.
    """

    def __init__(self, width: int = 64, scales: int = 2, *, seed: int, **kwargs: Any):
        check_counts(width=width, scales=scales)
        super().__init__("discriminator", seed=seed, **kwargs)
        self.discriminators = [
            PatchDiscriminator(width, **name_part(self.seed, f"scale_{scale}")) for scale in range(scales)
        ]

    def call(self, images: tf.Tensor, training: bool = False) -> list[list[tf.Tensor]]:
        """Return the feature maps of each scale for semantics and image together, (B, y, x, S + 1)."""
        maps = []
        for discriminator in self.discriminators:
            maps.append(discriminator(images, training=training))
            images = halve(images)
        return maps


def halve(images: tf.Tensor) -> tf.Tensor:
    """Return images (B, y, x, C) at half their resolution: means over 3 x 3 pixels, in which padding does not count."""
    counts = tf.nn.avg_pool2d(_pad(tf.ones_like(images[:1, :, :, :1]), 1), 3, 2, "VALID")
    return tf.nn.avg_pool2d(_pad(images, 1), 3, 2, "VALID") / counts


def _pad(maps: tf.Tensor, by: int = 2) -> tf.Tensor:
    return tf.pad(maps, [[0, 0], [by, by], [by, by], [0, 0]])


def _make_norm(*, name: str) -> tf.keras.layers.Layer:
    # The layer loses precision in bfloat16.
    options = {"center": False, "scale": False, "epsilon": 1e-5, "dtype": "float32", "name": name}
    if legacy_keras.is_separate():  # tensorflow-addons ended with TensorFlow 2.15
        return tf.keras.layers.GroupNormalization(groups=-1, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tensorflow-addons warns at every import that it is no longer developed
        from tensorflow_addons.layers import InstanceNormalization  # here, as it takes a second
    return InstanceNormalization(**options)
