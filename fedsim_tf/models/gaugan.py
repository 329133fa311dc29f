"""The enhancement network: the GauGAN generator (Park et al., CVPR 2019), without encoder and noise."""

from __future__ import annotations

import tensorflow as tf

from fedsim_tf.errors import InputError
from fedsim_tf.models.initializers import xavier
from fedsim_tf.models.spade import SLOPE, SpadeResidualBlock

START = 4  # pixels along each edge of the first feature map
WIDTHS = (16, 16, 16, 8, 4, 2, 1)  # of the seven blocks, in units of the last one's
UPSAMPLED_BLOCKS = (1, 3, 4, 5, 6)  # those before which the map is doubled at 128 pixels
SIZES = {START * 2 ** (len(UPSAMPLED_BLOCKS) - skipped): skipped for skipped in range(3)}  # 128, 64, 32


class GauGANGenerator(tf.keras.Model):
    """Semantics (B, size, size, 3) to an image (B, size, size, 1) in [-1, 1], float32.

    Smaller images leave out the earliest upsamplings, so that all start from 4 x 4 and keep the seven blocks.

    Args:
      size: 128, 64 or 32 pixels.
      width: channels of the last block.

    Raises:
      InputError: another size.
    """

    def __init__(self, size: int = 128, width: int = 64, **kwargs):
        super().__init__(**kwargs)
        if size not in SIZES:
            raise InputError("size", found=size, expected=f"one of {', '.join(map(str, SIZES))}")
        self.upsampled = UPSAMPLED_BLOCKS[SIZES[size] :]
        self.first = tf.keras.layers.Conv2D(WIDTHS[0] * width, 3, padding="same", kernel_initializer=xavier())
        self.blocks = [SpadeResidualBlock(multiple * width) for multiple in WIDTHS]
        self.last = tf.keras.layers.Conv2D(1, 3, padding="same", kernel_initializer=xavier(), dtype="float32")

    def call(self, semantics: tf.Tensor, training: bool = False) -> tf.Tensor:
        out = self.first(tf.image.resize(semantics, (START, START), "nearest"))
        for number, block in enumerate(self.blocks):
            if number in self.upsampled:
                out = tf.repeat(tf.repeat(out, 2, axis=1), 2, axis=2)
            out = block((out, semantics), training=training)
        return tf.tanh(self.last(tf.nn.leaky_relu(out, SLOPE)))
