"""Writes PyTorch's results to recorded.json, for comparisons where PyTorch is not installed.

python -m tests.oracles.record
"""

import numpy as np
import torch

from tests.oracles import ours, peers, recorded, seeded
from tests.oracles.torch_gan import VGG19, Discriminator, Generator
from tests.oracles.torch_unet import UNet3D
from tests.oracles.torch_weights import Link, load, load_vgg, to_numpy, to_torch


def peers_numbers() -> recorded.Numbers:
    """Return maps, losses, gradients, and the weights and losses of a few training steps."""
    numbers = {**maps(), **_unet_gradients(), **_unet_steps()}
    for prefix, channels in seeded.SEMANTICS.items():
        numbers |= {f"{prefix}{name}": value for name, value in gan_numbers(channels).items()}
    return numbers


def gan_numbers(channels: int) -> recorded.Numbers:
    """Return losses and gradients of both networks, and a few training steps, for semantics of so many channels."""
    return {**_gan_gradients(channels), **_gan_steps(channels)}


def maps() -> recorded.Numbers:
    """Return the maps of every network."""
    generator, discriminator, unet = _networks()
    semantics, real = seeded.gan_inputs(0)
    scales = discriminator.eval()(to_torch(np.concatenate([semantics, real[..., None]], axis=-1)))
    vgg = VGG19()
    load_vgg(ours.vgg(), vgg)
    arrays = {
        "image": generator.eval()(to_torch(semantics)),
        "logits of the U-Net": unet.eval()(peers.unet_inputs(0)[0]),
        **{f"map {scale}.{level}": m for scale, levels in enumerate(scales) for level, m in enumerate(levels)},
        **{f"VGG {level}": m for level, m in enumerate(vgg(to_torch(real[..., None])))},
    }
    return recorded.projections("", {name: to_numpy(array) for name, array in arrays.items()})


def _gan_gradients(channels: int) -> recorded.Numbers:
    generator, discriminator = peers.gan_networks(channels)
    links = load(ours.generator(channels), generator, seeded.generator_layers())
    links += load(ours.discriminator(channels + 1), discriminator, seeded.discriminator_layers())
    vgg = VGG19()
    load_vgg(ours.vgg(), vgg)
    losses = peers.gan_gradients(generator, discriminator, vgg, channels=channels)
    return {**_named("gan", losses), **recorded.projections("gan gradient ", _gradients(links))}


def _unet_gradients() -> recorded.Numbers:
    network = peers.unet()
    links = load(ours.unet(), network, seeded.unet_layers())
    losses = peers.unet_gradients(network)
    return {**_named("unet", losses), **recorded.projections("unet gradient ", _gradients(links))}


def _gan_steps(channels: int) -> recorded.Numbers:
    enhancer, discriminator = ours.generator(channels), ours.discriminator(channels + 1)
    training = peers.GanTraining(enhancer, discriminator, channels=channels)
    losses, links = training.losses(0), [*training.generator_links, *training.discriminator_links]
    weights = recorded.projections("gan weight ", _values(links))
    return {**weights, **_steps("gan", training, losses)}


def _unet_steps() -> recorded.Numbers:
    training = peers.SegmenterTraining(ours.unet())
    losses = training.losses(0)
    weights = recorded.projections("unet weight ", _values(training.links))
    return {**weights, **_steps("unet", training, losses)}


def _steps(prefix: str, training, first: dict[str, float]) -> recorded.Numbers:
    numbers = _named(f"{prefix} 0", first)
    for step in range(1, recorded.STEPS):
        numbers |= _named(f"{prefix} {step}", training.losses(step))
    return numbers


def _networks() -> tuple[Generator, Discriminator, UNet3D]:
    generator, discriminator = peers.gan_networks()
    unet = peers.unet()
    load(ours.generator(), generator, seeded.generator_layers())
    load(ours.discriminator(), discriminator, seeded.discriminator_layers())
    load(ours.unet(), unet, seeded.unet_layers())
    return generator, discriminator, unet


def _named(prefix: str, losses: dict[str, float]) -> dict[str, float]:
    return {f"{prefix} loss {name}": value for name, value in losses.items()}


def _gradients(links: list[Link]) -> dict[str, np.ndarray]:
    return {link.name: link.as_variable(link.tensor.grad) for link in links if link.is_trained}


def _values(links: list[Link]) -> dict[str, np.ndarray]:
    return {link.name: link.as_variable(link.tensor) for link in links}


if __name__ == "__main__":
    torch.set_num_threads(1)
    recorded.write(peers_numbers())
