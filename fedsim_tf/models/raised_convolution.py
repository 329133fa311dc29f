"""The convolution of skipped maps beside up-convolved ones that begins every level of a U-Net's decoder.

Nothing but a bias lies between an up-convolution (kernel and stride 2) and the 3^3 convolution after it, so both
together are one linear map. In it, each of the eight fine voxels of a coarse one sees 2^3 coarse voxels instead of 3^3
fine ones. This takes less than a third of the multiplications, and the up-convolved maps are never made.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import tensorflow as tf

from fedsim_tf.models.arguments import check_counts, check_seed
from fedsim_tf.models.convolution3d import Doubling3D, SlicedConv3D
from fedsim_tf.models.device_forms import takes_processor_forms
from fedsim_tf.models.initializers import name_part
from fedsim_tf.models.sizes import sizes

# Composing two kernels costs 8 x 27 products of channel matrices, and saves 19 of 27 products at each fine voxel.
PRODUCTS_TO_COMPOSE, PRODUCTS_SAVED = 216, 19


class RaisedConvolution(tf.keras.layers.Layer):
    """conv3(concat(skipped, up2(coarse))) with "same" padding.

    Args:
      filters: channels of the result.
      up_filters: channels of the up-convolved maps.
      seed: what initial values are drawn from.

    Raises:
      InputError: filters or up_filters below one, or a seed that is not a whole number.
    """

    def __init__(self, filters: int, up_filters: int, *, seed: int, **kwargs: Any):
        check_counts(filters=filters, up_filters=up_filters)
        check_seed(seed)
        super().__init__(**kwargs)
        self._may_compose = takes_processor_forms()
        self.up = Doubling3D(up_filters, **name_part(seed, "up"), dtype=self.dtype_policy)
        self.convolution = SlicedConv3D(filters, **name_part(seed, "convolution"), dtype=self.dtype_policy)

    def build(self, input_shape):
        skipped, coarse = input_shape
        self.up.build(coarse)
        self.convolution.build((*skipped[:-1], skipped[-1] + self.up.filters))
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Return maps (B, 2z, 2y, 2x, filters) for skipped (B, 2z, 2y, 2x, S) and coarse (B, z, y, x, C) ones."""
        skipped, coarse = inputs
        if not (self._may_compose and _is_worthwhile(skipped.shape, coarse.shape)):
            return self.convolution(tf.concat([skipped, self.up(coarse)], axis=-1))
        kernel = tf.cast(self.convolution.kernel, skipped.dtype)
        of_skipped, of_raised = tf.split(kernel, [skipped.shape[-1], self.up.filters], axis=3)
        composed = compose_kernels(tf.cast(self.up.kernel, skipped.dtype), of_raised)
        terms = [
            self.convolution.convolution_op(skipped, of_skipped),
            convolve_up(coarse, composed),
            _convolve_constant(of_raised, tf.cast(self.up.bias, skipped.dtype), skipped.shape),
        ]
        return tf.nn.bias_add(terms[0] + terms[1] + terms[2], tf.cast(self.convolution.bias, skipped.dtype))


def compose_kernels(up: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Return the one kernel of an up-convolution followed by a convolution.

    Args:
      up: the up-convolution's kernel (2, 2, 2, M, C).
      kernel: the convolution's kernel (3, 3, 3, M, F).

    Returns:
      A kernel (2, 2, 2, C, 8 F) from coarse neighbours to the eight fine voxels around their common corner, one after
      another.
    """
    middle, channels, filters = up.shape[3], up.shape[4], kernel.shape[4]
    left = tf.reshape(tf.transpose(up, [0, 1, 2, 4, 3]), [8 * channels, middle])
    right = tf.reshape(tf.transpose(kernel, [3, 0, 1, 2, 4]), [middle, 27 * filters])
    products = tf.reshape(tf.matmul(left, right), [8, channels, 27, filters])
    products = tf.reshape(tf.transpose(products, [0, 2, 1, 3]), [216, channels, filters])
    # Up to eight products meet at one place, too many to add in bfloat16.
    taps = tf.cast(tf.math.unsorted_segment_sum(tf.cast(products, _at_least_float32(up.dtype)), _PLACES, 64), up.dtype)
    by_tap = tf.transpose(tf.reshape(taps, [8, 8, channels, filters]), [0, 2, 1, 3])
    return tf.reshape(by_tap, [2, 2, 2, channels, 8 * filters])


def _at_least_float32(dtype: tf.DType) -> tf.DType:
    return tf.float32 if dtype.size < 4 else dtype


def convolve_up(coarse: tf.Tensor, composed: tf.Tensor) -> tf.Tensor:
    """Return maps (B, 2z, 2y, 2x, F) for coarse maps (B, z, y, x, C) and a composed kernel."""
    filters = composed.shape[-1] // 8
    padded = tf.pad(coarse, [[0, 0], [1, 1], [1, 1], [1, 1], [0, 0]])
    corners = tf.nn.conv3d(padded, composed, [1] * 5, "VALID")  # each with the eight fine voxels around it
    batch, depth, height, width, _ = sizes(corners)
    apart = tf.transpose(tf.reshape(corners, [-1, 8, filters]), [1, 0, 2])
    eight = tf.reshape(apart, [8 * batch, depth, height, width, filters])
    return tf.batch_to_space(eight, [2, 2, 2], [[1, 1]] * 3)


def _convolve_constant(kernel: tf.Tensor, bias: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    """Return what the convolution makes of the up-convolution's bias (M,).

    The result is constant but at the border, where the convolution's padding is zero.
    """
    responses = tf.einsum("zyxmf,m->zyxf", kernel, bias)
    inside = [tf.cast(_inside(edge), kernel.dtype) for edge in shape[1:4]]
    planes = tf.einsum("zyxf,by,cx->zbcf", responses, inside[1], inside[2])
    flat = tf.matmul(inside[0], tf.reshape(planes, [3, -1]))
    return tf.reshape(flat, [1, *shape[1:4], kernel.shape[-1]])


def _inside(edge: int) -> np.ndarray:
    """Return (edge, 3): one where the neighbour before, at or after a voxel exists, else zero."""
    place = np.arange(edge)[:, None] + np.arange(-1, 2)[None]
    return ((place >= 0) & (place < edge)).astype(np.float32)


def _is_worthwhile(skipped: tf.TensorShape, coarse: tf.TensorShape) -> bool:
    """Tell whether composing the kernels costs fewer operations than it saves, gradients included."""
    if None in skipped[1:4]:
        return False
    voxels = (skipped[0] or 1) * int(np.prod(skipped[1:4]))
    return PRODUCTS_SAVED * voxels > PRODUCTS_TO_COMPOSE * coarse[-1]


def _places() -> np.ndarray:
    """Return a number for each pair of taps, of the up-convolution and of the convolution.

    It is 8 times the coarse neighbour's number plus the fine voxel's number, both counted in z, y, x.
    """
    places = []
    taps = list(itertools.product(range(2), repeat=3)), list(itertools.product(range(3), repeat=3))
    for up, tap in itertools.product(*taps):
        near, fine = zip(*(_ALONG_AXIS[pair] for pair in zip(up, tap, strict=True)), strict=True)
        places.append(8 * (4 * near[0] + 2 * near[1] + near[2]) + 4 * fine[0] + 2 * fine[1] + fine[2])
    return np.array(places, np.int32)


def _along_axis() -> dict[tuple[int, int], tuple[int, int]]:
    """Return, along one axis, the coarse neighbour and the fine voxel for each pair of taps.

    The fine voxels 2j - 1 and 2j lie around the corner before coarse voxel j.
    """
    found = {}
    for number, fine in enumerate((-1, 0)):
        for tap in range(3):
            coarse, up = divmod(fine + tap - 1, 2)
            found[up, tap] = (coarse + 1, number)
    return found


_ALONG_AXIS = _along_axis()
_PLACES = _places()
