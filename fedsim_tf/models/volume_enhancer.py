"""The enhancement network of Ours-Plus: a 3D U-Net that adds to a coarse CT what it lacks, in all planes at once."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fedsim_tf.models.arguments import check_counts
from fedsim_tf.models.initializers import derive_seed
from fedsim_tf.models.network import Network
from fedsim_tf.models.unet3d import UNet3D


class VolumeEnhancer(Network):
    """A network from coarse CT and label to a CT, for volumes whose edges are multiples of eight voxels.

    Args:
      width: channels of its first convolution.
      seed: what initial values are drawn from.
      interpolated: see `UNet3D`.

    Raises:
      InputError: a width below one, or a seed that is not a whole number.
    """

    def __init__(self, width: int = 8, *, seed: int, interpolated: bool = True, **kwargs: Any):
        check_counts(width=width)
        super().__init__("volume_enhancer", seed=seed, **kwargs)
        self.details = UNet3D(width, seed=derive_seed(self.seed, "details"), interpolated=interpolated)

    def call(self, semantics: tf.Tensor) -> tf.Tensor:
        """Return images (B, z, y, x), float32, for semantics (B, z, y, x, S), of which the first is the coarse CT.

        Images are on the scale of the coarse CT, [-1, 1] over the CT window, and not clipped.
        """
        return tf.cast(semantics[..., 0], tf.float32) + self.details(semantics)[..., 0]
