"""PyTorch's side of the comparisons that `ours` makes: the same weights, batches and steps."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import torch

from tests.oracles import ours, seeded
from tests.oracles.torch_gan import VGG19, Discriminator, Generator
from tests.oracles.torch_losses import segmentation_loss
from tests.oracles.torch_training import GanStep, UNetStep, discriminator_loss, generator_losses
from tests.oracles.torch_unet import UNet3D
from tests.oracles.torch_weights import Link, load, load_vgg, to_torch


def unet() -> UNet3D:
    """Return a U-Net in double precision: in single, rounding turns ReLUs and moves the gradients by half a percent."""
    return UNet3D(seeded.UNET_WIDTH).double()


def unet_inputs(step: int) -> list[torch.Tensor]:
    return [to_torch(part).double() for part in seeded.unet_inputs(step)]


class GanTraining:
    """A generator and a discriminator with the weights of ours, for semantics of so many channels."""

    def __init__(self, enhancer: tf.Module, discriminator: tf.Module, *, channels: int = 3):
        self._channels = channels
        self.generator, self.discriminator = gan_networks(channels)
        self.generator_links = load(enhancer, self.generator, seeded.generator_layers())
        self.discriminator_links = load(discriminator, self.discriminator, seeded.discriminator_layers())
        vgg = VGG19()
        load_vgg(ours.vgg(), vgg)
        self.step = GanStep(self.generator, self.discriminator, vgg)

    def losses(self, step: int) -> dict[str, float]:
        """Return the losses of one step."""
        return self.step(*(to_torch(part) for part in _with_channels(*seeded.gan_inputs(step, self._channels))))


class SegmenterTraining:
    """A U-Net with the weights of ours."""

    def __init__(self, network: tf.Module):
        self.network = unet()
        self.links = load(network, self.network, seeded.unet_layers())
        self.step = UNetStep(self.network, rate=ours.UNET_RATE)

    def losses(self, step: int) -> dict[str, float]:
        """Return the losses of one step."""
        return {"loss": self.step(*unet_inputs(step))}


def gan_networks(channels: int = 3) -> tuple[Generator, Discriminator]:
    """Return both networks for semantics of so many channels."""
    generator = Generator(seeded.GAN_SIZE, seeded.GAN_WIDTH, channels)
    return generator, Discriminator(seeded.GAN_WIDTH, channels=channels + 1)


def gan_gradients(
    generator: Generator, discriminator: Discriminator, vgg: VGG19, *, channels: int = 3
) -> dict[str, float]:
    """Return the losses of both networks as they are; the gradients are left in the networks."""
    semantics, real = (to_torch(part) for part in _with_channels(*seeded.gan_inputs(0, channels)))
    fake = generator.train()(semantics)
    losses = generator_losses(discriminator.eval().requires_grad_(False), vgg, semantics, real, fake)
    torch.stack(list(losses.values())).sum().backward()
    discriminator.train().requires_grad_(True)
    losses["discriminator"] = discriminator_loss(discriminator, semantics, real, fake)
    losses["discriminator"].backward()
    return {name: float(loss.detach()) for name, loss in losses.items()}


def unet_gradients(network: UNet3D) -> dict[str, float]:
    """Return the loss; the gradients are left in the network."""
    images, labels = unet_inputs(0)
    loss = segmentation_loss(network.train()(images), labels)
    loss.backward()
    return {"loss": float(loss.detach())}


def _with_channels(semantics: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return semantics, real[..., None]


def gradient_size(link: Link, optimizer: torch.optim.Adam) -> np.ndarray:
    """Return the root of Adam's second moment, shaped like the variable: how large its gradients have been."""
    return link.as_variable(optimizer.state[link.tensor]["exp_avg_sq"].sqrt())
