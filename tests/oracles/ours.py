"""Our side of the comparisons: networks with seeded weights, their maps and losses, and a few training steps."""

from __future__ import annotations

import functools
import tempfile

import numpy as np
import tensorflow as tf

from fedsim_tf.config import GanConfig, make_config
from fedsim_tf.losses import hinge_discriminator_loss, segmentation_loss
from fedsim_tf.models.discriminator import MultiScaleDiscriminator
from fedsim_tf.models.gaugan import GauGANGenerator
from fedsim_tf.models.unet3d import UNet3D
from fedsim_tf.models.vgg import VGG19Features
from fedsim_tf.training.enhancement import EnhancementTrainer, discriminate, generator_losses
from fedsim_tf.training.segmentation import UNetTraining
from fedsim_tf.training.volumes import Volumes
from tests.oracles import seeded

UNET_RATE = 1e-3
SETTINGS = GanConfig(flip=False, intensity=0.0)
Numbers = dict[str, np.ndarray]


@functools.cache
def vgg() -> VGG19Features:
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/vgg.npz", **seeded.vgg_arrays(seed=3))
        return VGG19Features(f"{folder}/vgg.npz")


def generator(channels: int = 3) -> GauGANGenerator:
    network = GauGANGenerator(seeded.GAN_SIZE, seeded.GAN_WIDTH, seed=0)
    network(tf.zeros((1, seeded.GAN_SIZE, seeded.GAN_SIZE, channels)))
    seeded.fill(network, seeded.generator_layers(), seed=1)
    return network


def discriminator(channels: int = 4) -> MultiScaleDiscriminator:
    network = MultiScaleDiscriminator(seeded.GAN_WIDTH, seed=0)
    network(tf.zeros((1, seeded.GAN_SIZE, seeded.GAN_SIZE, channels)))
    seeded.fill(network, seeded.discriminator_layers(), seed=2)
    return network


def unet() -> UNet3D:
    network = UNet3D(seeded.UNET_WIDTH, seed=0)
    network(tf.zeros((1, *[seeded.UNET_SIZE] * 3, 1)))
    seeded.fill(network, seeded.unet_layers(), seed=4)
    return network


def gan_gradients(enhancer: GauGANGenerator, discriminator: MultiScaleDiscriminator, *, channels: int = 3) -> Numbers:
    """Return the losses and the gradients of every variable, of both networks as they are."""
    semantics, real = (tf.constant(part) for part in seeded.gan_inputs(0, channels))
    with tf.GradientTape(persistent=True) as tape:
        fake = enhancer(semantics, training=True)[..., 0]
        losses = generator_losses(discriminator, vgg(), SETTINGS, semantics, real, fake, condition_is_learnt=False)
        total = tf.add_n(list(losses.values()))
        discriminator_loss = hinge_discriminator_loss(
            *discriminate(discriminator, semantics, real, tf.stop_gradient(fake), training=True)
        )
    numbers = {"discriminator": discriminator_loss, **losses}
    for network, layers, loss in (
        (enhancer, seeded.generator_layers(), total),
        (discriminator, seeded.discriminator_layers(), discriminator_loss),
    ):
        numbers |= _gradients(tape, loss, network, layers)
    return {name: np.asarray(value) for name, value in numbers.items()}


def unet_gradients(network: UNet3D) -> Numbers:
    images, labels = seeded.unet_inputs(0)
    with tf.GradientTape() as tape:
        loss = segmentation_loss(network(images), labels)
    numbers = {"loss": loss, **_gradients(tape, loss, network, seeded.unet_layers())}
    return {name: np.asarray(value) for name, value in numbers.items()}


class GanTraining:
    """The trainer with seeded networks, for semantics of so many channels."""

    def __init__(self, channels: int = 3):
        self._channels = channels
        self.enhancer, self.discriminator = generator(channels), discriminator(channels + 1)
        trainer = EnhancementTrainer(self.enhancer, self.discriminator, vgg(), SETTINGS)
        self._traced = tf.function(trainer.update, autograph=False)

    def losses(self, step: int) -> dict[str, tf.Tensor]:
        """Return the losses of one step."""
        inputs = (tf.constant(part) for part in seeded.gan_inputs(step, self._channels))
        return self._traced(*inputs, tf.zeros((2,), tf.int32))[0]


class SegmenterTraining:
    """The U-Net's training with seeded weights."""

    def __init__(self):
        edges = [seeded.UNET_SIZE] * 3
        nothing = Volumes(("none",), np.zeros((1, *edges), np.float32), np.zeros((1, *edges), np.float32))
        config = make_config("demo", model={"unet_width": seeded.UNET_WIDTH, "precision": "float32"})
        self._training = UNetTraining(config, nothing)
        self.network = self._training.network
        seeded.fill(self.network, seeded.unet_layers(), seed=4)
        self._training.begin(nothing, rate=UNET_RATE, steps=1000, stage="comparison")

    def losses(self, step: int) -> dict[str, tf.Tensor]:
        """Return the losses of one step."""
        return {"loss": self._training._traced(*(tf.constant(part) for part in seeded.unet_inputs(step)))[0]}


def values(network: tf.Module, layers: list[str]) -> Numbers:
    """Return every variable by name."""
    return {name: variable.numpy() for name, variable in seeded.variables(network, layers)}


def _gradients(tape: tf.GradientTape, loss: tf.Tensor, network: tf.Module, layers: list[str]) -> dict[str, tf.Tensor]:
    trained = {name: variable for name, variable in seeded.variables(network, layers) if variable.trainable}
    return dict(zip(trained, tape.gradient(loss, list(trained.values())), strict=True))
