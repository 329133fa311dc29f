"""The 3D U-Net (Cicek et al., MICCAI 2016), with "same" padding.

Maps are normalised by their own volume's statistics, in training and after it. With one volume a step this is batch
norm, with the present statistics in use too, as its authors found to work best for few samples (section 3).
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fedsim_tf.models.arguments import check_counts
from fedsim_tf.models.convolution3d import SlicedConv3D, halve3d
from fedsim_tf.models.initializers import derive_seed, glorot, name_part
from fedsim_tf.models.interpolated_convolution import InterpolatedConvolution
from fedsim_tf.models.network import Network
from fedsim_tf.models.raised_convolution import RaisedConvolution
from fedsim_tf.models.volume_norm import VolumeNorm

LEVELS = 4


class UNet3D(Network):
    """A segmentation network for volumes whose edges are multiples of eight voxels.

    Args:
      width: channels of the first convolution, doubled within and between levels (paper: 32).
      outputs: channels of the logits: 1 for heart or not (paper), or one for the background and each region.
      seed: what initial values are drawn from.
      interpolated: whether maps are interpolated on their way up, not up-convolved, for networks that draw images.

    Raises:
      InputError: a width or outputs below one, or a seed that is not a whole number.
    """

    def __init__(self, width: int = 32, *, seed: int, outputs: int = 1, interpolated: bool = False, **kwargs: Any):
        check_counts(width=width, outputs=outputs)
        super().__init__("unet3d", seed=seed, **kwargs)
        widths = [width * 2 ** (level + 1) for level in range(LEVELS)]
        self.down = [
            _descend(width * 2**level, filters, **name_part(self.seed, f"down_{level}"))
            for level, filters in enumerate(widths)
        ]
        self.up = [
            _ascend(filters, interpolated=interpolated, **name_part(self.seed, f"up_{number}"))
            for number, filters in enumerate(widths[-2::-1])
        ]
        # A dense layer is a 1^3 convolution.
        start = glorot(derive_seed(self.seed, "head"))
        self.head = tf.keras.layers.Dense(outputs, kernel_initializer=start, dtype="float32", name="head")

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Return logits (B, z, y, x, outputs), float32, for CTs (B, z, y, x, 1)."""
        maps = [self.down[0](images)]
        for block in self.down[1:]:
            maps.append(block(halve3d(maps[-1])))
        out = maps.pop()
        for block in self.up:
            out = block((maps.pop(), out))
        return self.head(out)


class DoubleConvolution(tf.keras.layers.Layer):
    """Two convolutions, each followed by a normalisation and ReLU.

    Args:
      first: a convolution of maps, or of a pair of maps.
      second: a convolution of maps.
    """

    def __init__(self, first: tf.keras.layers.Layer, second: tf.keras.layers.Layer, **kwargs: Any):
        super().__init__(**kwargs)
        self.convolutions = [first, second]
        self.norms = [VolumeNorm(name=f"norm_{number}") for number, _ in enumerate(self.convolutions)]

    def call(self, maps: tf.Tensor | tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Return maps (B, z, y, x, C) for what the first convolution takes."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            maps = tf.nn.relu(norm(convolution(maps)))
        return maps


def _descend(first: int, second: int, *, seed: int, name: str) -> DoubleConvolution:
    convolutions = (SlicedConv3D(n, **name_part(seed, f"convolution_{i}")) for i, n in enumerate((first, second)))
    return DoubleConvolution(*convolutions, name=name)


def _ascend(filters: int, *, interpolated: bool, seed: int, name: str) -> DoubleConvolution:
    part = name_part(seed, "convolution_0")
    # An up-convolution keeps its input's width.
    raised = (
        InterpolatedConvolution(filters, **part) if interpolated else RaisedConvolution(filters, 2 * filters, **part)
    )
    return DoubleConvolution(raised, SlicedConv3D(filters, **name_part(seed, "convolution_1")), name=name)
