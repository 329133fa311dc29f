"""The 3D U-Net (Cicek et al., MICCAI 2016), with "same" padding.

Maps are normalised by their own volume's statistics, in training and after it. With one volume a step that is batch
norm, with the present statistics in use too, as its authors found to work best for few samples (section 3).
"""

from __future__ import annotations

import tensorflow as tf

from fedsim_tf.models.convolution3d import SlicedConv3D, halved3d
from fedsim_tf.models.raised_convolution import RaisedConvolution

LEVELS = 4


class UNet3D(tf.keras.Model):
    """CT (B, z, y, x, 1) to logits (B, z, y, x, 1) float32; edges divisible by 8.

    Args:
      width: channels of the first convolution; 32 in the paper, doubled within and between levels.
    """

    def __init__(self, width: int = 32, **kwargs):
        super().__init__(**kwargs)
        self.down = [_double(width * 2**level, width * 2 ** (level + 1)) for level in range(LEVELS)]
        rising = [width * 2 ** (level + 1) for level in reversed(range(LEVELS - 1))]
        # An up-convolution keeps its input's width.
        self.up = [
            DoubleConvolution(RaisedConvolution(filters, 2 * filters), SlicedConv3D(filters)) for filters in rising
        ]
        self.head = tf.keras.layers.Dense(1, dtype="float32")  # a 1^3 convolution

    def call(self, images: tf.Tensor) -> tf.Tensor:
        maps = [self.down[0](images)]
        for block in self.down[1:]:
            maps.append(block(halved3d(maps[-1])))
        out = maps.pop()
        for block in self.up:
            out = block((maps.pop(), out))
        return self.head(out)


class DoubleConvolution(tf.keras.layers.Layer):
    """Two convolutions, each followed by a normalisation and ReLU."""

    def __init__(self, first: tf.keras.layers.Layer, second: tf.keras.layers.Layer, **kwargs):
        super().__init__(**kwargs)
        self.convolutions = [first, second]
        self.norms = [_volume_norm() for _ in self.convolutions]

    def call(self, maps: tf.Tensor | tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            maps = tf.nn.relu(norm(convolution(maps)))
        return maps


def _volume_norm() -> tf.keras.layers.Layer:
    return tf.keras.layers.GroupNormalization(groups=-1, epsilon=1e-5, dtype="float32")  # a channel is a group


def _double(first: int, second: int) -> DoubleConvolution:
    return DoubleConvolution(SlicedConv3D(first), SlicedConv3D(second))
