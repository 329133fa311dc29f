"""Networks and latents."""

from fedsim_tf import float32  # noqa: F401 (before anything computes)
from fedsim_tf.models.discriminator import MultiScaleDiscriminator
from fedsim_tf.models.gaugan import GauGANGenerator
from fedsim_tf.models.generators import MaterialGenerator, ShapeGenerator
from fedsim_tf.models.latents import LatentDistribution, LatentStatistics, LatentTable
from fedsim_tf.models.unet3d import UNet3D
from fedsim_tf.models.vgg import VGG19Features

__all__ = [
    "GauGANGenerator",
    "LatentDistribution",
    "LatentStatistics",
    "LatentTable",
    "MaterialGenerator",
    "MultiScaleDiscriminator",
    "ShapeGenerator",
    "UNet3D",
    "VGG19Features",
]
