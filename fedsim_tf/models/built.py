"""The large networks in the sizes and the precision of a configuration, with their variables made."""

from __future__ import annotations

import tensorflow as tf

from fedsim_tf.config import Config, ModelConfig
from fedsim_tf.models.discriminator import MultiScaleDiscriminator
from fedsim_tf.models.gaugan import GauGANGenerator
from fedsim_tf.models.precision import resolve_precision, use_precision
from fedsim_tf.models.unet3d import UNet3D
from fedsim_tf.models.vgg import VGG19Features
from fedsim_tf.models.volume_enhancer import VolumeEnhancer
from fedsim_tf.regions import BACKGROUND, REGION_IDS


def enhancement_generator(config: ModelConfig, *, seed: int) -> GauGANGenerator:
    """Return the enhancement network; equal seeds give equal initial values."""
    with use_precision(config.precision):
        network = GauGANGenerator(size=config.size, width=config.gan_width, seed=seed)
        network(tf.zeros((1, config.size, config.size, config.semantic_channels)))
    return network


def discriminator(config: ModelConfig, *, seed: int) -> MultiScaleDiscriminator:
    """Return the discriminator of enhanced slices; equal seeds give equal initial values."""
    with use_precision(config.precision):
        network = MultiScaleDiscriminator(width=config.discriminator_width, seed=seed)
        network(tf.zeros((1, config.size, config.size, config.semantic_channels + 1)))
    return network


def unet(config: ModelConfig, *, seed: int) -> UNet3D:
    """Return the segmentation network; equal seeds give equal initial values.

    Its logits are those of heart or not, or by region those of the background and of each region, in the order of ids.
    """
    outputs = len((BACKGROUND, *REGION_IDS)) if config.by_region else 1
    with use_precision(config.precision):
        network = UNet3D(width=config.unet_width, outputs=outputs, seed=seed)
        network(tf.zeros((1, config.size, config.size, config.size, 1)))
    return network


def volume_enhancer(config: Config, *, seed: int) -> VolumeEnhancer:
    """Return the enhancement network of Ours-Plus; equal seeds give equal initial values."""
    size, channels = config.model.size, 1 + config.model.label_channels
    with use_precision(config.model.precision):
        network = VolumeEnhancer(config.plus.width, seed=seed, interpolated=config.plus.interpolated)
        network(tf.zeros((1, size, size, size, channels)))
    return network


def vgg_features(config: ModelConfig) -> VGG19Features:
    """Return VGG-19's features with the configured weights.

    Raises:
      InputError: weights that cannot be had, see `VGG19Features`.
    """
    return VGG19Features(config.vgg_weights, dtype=resolve_precision(config.precision))
