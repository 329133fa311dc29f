"""The large networks as a configuration has them, with their variables made."""

from __future__ import annotations

import tensorflow as tf

from fedsim_tf import float32  # noqa: F401 (before anything computes)
from fedsim_tf.config import ModelConfig
from fedsim_tf.models.discriminator import MultiScaleDiscriminator
from fedsim_tf.models.gaugan import GauGANGenerator
from fedsim_tf.models.precision import computing_in, resolved
from fedsim_tf.models.unet3d import UNet3D
from fedsim_tf.models.vgg import VGG19Features


def enhancement_generator(config: ModelConfig) -> GauGANGenerator:
    with computing_in(config.precision):
        network = GauGANGenerator(size=config.size, width=config.gan_width)
        network(tf.zeros((1, config.size, config.size, 3)))
    return network


def discriminator(config: ModelConfig) -> MultiScaleDiscriminator:
    with computing_in(config.precision):
        network = MultiScaleDiscriminator(width=config.discriminator_width)
        network(tf.zeros((1, config.size, config.size, 4)))
    return network


def unet(config: ModelConfig) -> UNet3D:
    with computing_in(config.precision):
        network = UNet3D(width=config.unet_width)
        network(tf.zeros((1, config.size, config.size, config.size, 1)))
    return network


def vgg_features(config: ModelConfig) -> VGG19Features:
    """Raises `InputError` for weights that cannot be had, see `VGG19Features`."""
    return VGG19Features(config.vgg_weights, dtype=resolved(config.precision))
