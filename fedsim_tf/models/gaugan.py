"""The enhancement network: the GauGAN generator (Park et al., CVPR 2019), without encoder and noise."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fedsim_tf.errors import InputError
from fedsim_tf.models.arguments import check_counts
from fedsim_tf.models.initializers import derive_seed, name_part, xavier
from fedsim_tf.models.network import Network
from fedsim_tf.models.spade import SLOPE, SpadeResidualBlock

START = 4  # pixels along each edge of the first feature map
WIDTHS = (16, 16, 16, 8, 4, 2, 1)  # channels of the seven blocks, in units of the last block's
UPSAMPLED_BLOCKS = (1, 3, 4, 5, 6)  # blocks before which the map is doubled, for images of 128 pixels
SIZES = {START * 2 ** (len(UPSAMPLED_BLOCKS) - skipped): skipped for skipped in range(3)}  # 128, 64, 32


class GauGANGenerator(Network):
    """A generator of CT slices from semantics, in seven residual blocks with SPADE.

    Smaller images leave out the earliest upsamplings, so that all sizes start from 4 x 4 and keep the seven blocks.

    Args:
      size: pixels along each edge of the images: 128, 64 or 32.
      width: channels of the last block.
      seed: what initial values are drawn from.

    Raises:
      InputError: another size, a width below one, or a seed that is not a whole number.
    """

    def __init__(self, size: int = 128, width: int = 64, *, seed: int, **kwargs: Any):
        if size not in SIZES:
            raise InputError("size", found=size, expected=f"one of {', '.join(map(str, SIZES))}")
        check_counts(width=width)
        super().__init__("gaugan_generator", seed=seed, **kwargs)
        self.upsampled = UPSAMPLED_BLOCKS[SIZES[size] :]
        self.first = tf.keras.layers.Conv2D(
            WIDTHS[0] * width,
            3,
            padding="same",
            kernel_initializer=xavier(derive_seed(self.seed, "first")),
            name="first",
        )
        self.blocks = [
            SpadeResidualBlock(multiple * width, **name_part(self.seed, f"block_{number}"))
            for number, multiple in enumerate(WIDTHS)
        ]
        self.last = tf.keras.layers.Conv2D(
            1,
            3,
            padding="same",
            kernel_initializer=xavier(derive_seed(self.seed, "last")),
            dtype="float32",
            name="last",
        )

    def call(self, semantics: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Return images (B, size, size, 1) in [-1, 1], float32, for semantics (B, size, size, S)."""
        out = self.first(tf.image.resize(semantics, (START, START), "nearest"))
        for number, block in enumerate(self.blocks):
            if number in self.upsampled:
                out = tf.repeat(tf.repeat(out, 2, axis=1), 2, axis=2)
            out = block((out, semantics), training=training)
        return tf.tanh(self.last(tf.nn.leaky_relu(out, SLOPE)))
