"""The convolution of skipped maps beside interpolated ones, which begins the levels of a decoder that draws images.

An up-convolution gives each of the eight fine voxels of a coarse one weights of their own. Networks that draw images
with it leave checks with a period of two voxels (Odena, Dumoulin and Olah, "Deconvolution and checkerboard artifacts",
Distill 2016); interpolated maps have none that a convolution would have to take away.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fedsim_tf.models.arguments import check_counts, check_seed
from fedsim_tf.models.convolution3d import SlicedConv3D
from fedsim_tf.models.initializers import name_part
from fedsim_tf.models.sizes import sizes


class InterpolatedConvolution(tf.keras.layers.Layer):
    """conv3(concat(skipped, trilinear2(coarse))) with "same" padding.

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
        self.convolution = SlicedConv3D(filters, **name_part(seed, "convolution"), dtype=self.dtype_policy)

    def build(self, input_shape):
        skipped, coarse = input_shape
        self.convolution.build((*skipped[:-1], skipped[-1] + coarse[-1]))
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Return maps (B, 2z, 2y, 2x, filters) for skipped (B, 2z, 2y, 2x, S) and coarse (B, z, y, x, C) ones."""
        skipped, coarse = inputs
        return self.convolution(tf.concat([skipped, double_trilinearly(coarse)], axis=-1))


def double_trilinearly(maps: tf.Tensor) -> tf.Tensor:
    """Return maps (B, 2z, 2y, 2x, C) interpolated between the voxels of maps (B, z, y, x, C).

    Both grids share their outer borders, beyond which the outermost values go on.
    """
    for axis in (1, 2, 3):
        maps = _double_along(maps, axis)
    return maps


def _double_along(maps: tf.Tensor, axis: int) -> tf.Tensor:
    shape = sizes(maps)
    beyond = tf.pad(maps, [[int(one == axis)] * 2 for one in range(5)], mode="SYMMETRIC")
    before, after = (tf.slice(beyond, [2 * step * int(one == axis) for one in range(5)], shape) for step in (0, 1))
    pairs = tf.stack([0.75 * maps + 0.25 * before, 0.75 * maps + 0.25 * after], axis=axis + 1)
    return tf.reshape(pairs, [*shape[:axis], 2 * shape[axis], *shape[axis + 1 :]])
