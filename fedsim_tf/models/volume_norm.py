"""Normalise the maps of each volume by that volume's own statistics."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fedsim_tf.models.sizes import sizes


class VolumeNorm(tf.keras.layers.GroupNormalization):
    """Group normalisation with a group for each channel (instance norm), by TensorFlow's fused batch norm.

    Keras composes it of two dozen operations, which took a fifth of a small network's step. Batch norm of one volume is
    the same; for several, each channel of each volume is a channel of its own.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(groups=-1, epsilon=1e-5, dtype="float32", **kwargs)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return float32 maps (B, z, y, x, C) whose channels have mean beta and deviation gamma in each volume."""
        batch, depth, height, width, channels = sizes(inputs)
        voxels = depth * height * width
        one = isinstance(batch, int) and batch == 1  # its channels lie as batch norm takes them
        rows = tf.reshape(inputs, [batch, voxels, channels])
        normal, *_ = tf.raw_ops.FusedBatchNormV3(
            x=tf.reshape(rows if one else tf.transpose(rows, [1, 0, 2]), [1, voxels, 1, batch * channels]),
            scale=self.gamma if one else tf.tile(self.gamma, [batch]),
            offset=self.beta if one else tf.tile(self.beta, [batch]),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
            is_training=True,
        )
        if not one:
            normal = tf.transpose(tf.reshape(normal, [voxels, batch, channels]), [1, 0, 2])
        return tf.reshape(normal, [batch, depth, height, width, channels])
