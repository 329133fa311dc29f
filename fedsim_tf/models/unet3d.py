"""The 3D U-Net (Cicek et al., MICCAI 2016), with "same" padding."""

from __future__ import annotations

import tensorflow as tf

from fedsim_tf.models.convolution3d import Doubling3D, SlicedConv3D, halved3d

LEVELS = 4


class UNet3D(tf.keras.Model):
    """CT (B, z, y, x, 1) to logits (B, z, y, x, 1) float32; edges divisible by 8.

    Args:
      width: channels of the first convolution; 32 in the paper, doubled within and between levels.
    """

    def __init__(self, width: int = 32, **kwargs):
        super().__init__(**kwargs)
        self.down = [DoubleConvolution(width * 2**level, width * 2 ** (level + 1)) for level in range(LEVELS)]
        rising = [width * 2 ** (level + 1) for level in reversed(range(LEVELS - 1))]
        self.up = [Doubling3D(2 * filters) for filters in rising]  # keeps its input's width
        self.join = [DoubleConvolution(filters, filters) for filters in rising]
        self.head = tf.keras.layers.Dense(1, dtype="float32")  # a 1^3 convolution

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        maps = [self.down[0](images, training=training)]
        for block in self.down[1:]:
            maps.append(block(halved3d(maps[-1]), training=training))
        out = maps.pop()
        for up, join in zip(self.up, self.join, strict=True):
            out = join(tf.concat([maps.pop(), up(out)], axis=-1), training=training)
        return self.head(out)


class DoubleConvolution(tf.keras.layers.Layer):
    """Twice a 3^3 convolution, batch norm and ReLU."""

    def __init__(self, first: int, second: int, **kwargs):
        super().__init__(**kwargs)
        self.convolutions = [SlicedConv3D(filters) for filters in (first, second)]
        self.norms = [tf.keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5) for _ in self.convolutions]

    def call(self, maps: tf.Tensor, training: bool = False) -> tf.Tensor:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            maps = tf.nn.relu(norm(convolution(maps), training=training))
        return maps
