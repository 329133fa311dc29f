"""Training steps in PyTorch: GauGAN's with two rates, and the 3D U-Net's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.oracles import torch_losses
from tests.oracles.torch_gan import refresh_right_vectors

KERAS_EPSILON = 1e-7
Context = Callable[[], contextlib.AbstractContextManager]


class KerasAdam(torch.optim.Adam):
    """Adam with Keras's epsilon, which it adds before the bias of the second moment is corrected."""

    def __init__(self, parameters, rate: float, betas: tuple[float, float]):
        super().__init__(parameters, rate, betas, fused=True)  # four times as fast on CPUs
        self._steps = 0

    def step(self, closure=None):
        self._steps += 1
        for group in self.param_groups:
            group["eps"] = KERAS_EPSILON / (1 - group["betas"][1] ** self._steps) ** 0.5
        return super().step(closure)


def discriminate(discriminator: nn.Module, semantics: Tensor, real: Tensor, fake: Tensor) -> tuple[list, list]:
    """Return the feature maps of real and of fake images (B, 1, y, x), seen in one batch."""
    pairs = torch.cat([torch.cat([semantics, images], dim=1) for images in (real, fake)])
    halves = [[level.chunk(2) for level in scale] for scale in discriminator(pairs)]
    return [[half[0] for half in scale] for scale in halves], [[half[1] for half in scale] for scale in halves]


def discriminator_loss(discriminator: nn.Module, semantics: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    return torch_losses.hinge_discriminator_loss(*discriminate(discriminator, semantics, real, fake.detach()))


def generator_losses(
    discriminator: nn.Module, vgg: nn.Module, semantics: Tensor, real: Tensor, fake: Tensor
) -> dict[str, Tensor]:
    real_maps, fake_maps = discriminate(discriminator, semantics, real, fake)
    return {
        "adversarial": torch_losses.hinge_generator_loss(fake_maps),
        "feature_matching": torch_losses.feature_matching_loss(real_maps, fake_maps),
        "vgg": 10 * torch_losses.perceptual_loss(vgg(fake), vgg(real)),
    }


class GanStep:
    """One step of the discriminator, then one of the generator.

    Args:
      context: a context for the forward passes, such as an autocast.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        vgg: nn.Module,
        *,
        context: Context = contextlib.nullcontext,
    ):
        self._generator, self._discriminator, self._vgg, self._context = generator, discriminator, vgg, context
        self.generator_optimizer = KerasAdam(generator.parameters(), 1e-4, (0.0, 0.9))
        self.discriminator_optimizer = KerasAdam(discriminator.parameters(), 4e-4, (0.0, 0.9))

    def __call__(self, semantics: Tensor, real: Tensor) -> dict[str, float]:
        """Semantics (B, 3, y, x), real images (B, 1, y, x); returns the losses before the step."""
        self._generator.train()
        with self._context():
            fake = self._generator(semantics)
        moved = self._move_discriminator(semantics, real, fake)
        self._discriminator.eval().requires_grad_(False)
        refresh_right_vectors(self._discriminator)
        with self._context():
            losses = generator_losses(self._discriminator, self._vgg, semantics, real, fake)
        _move(self.generator_optimizer, torch.stack(list(losses.values())).sum())
        return {"discriminator": moved, **{name: float(loss.detach()) for name, loss in losses.items()}}

    def _move_discriminator(self, semantics: Tensor, real: Tensor, fake: Tensor) -> float:
        self._discriminator.train().requires_grad_(True)
        with self._context():
            loss = discriminator_loss(self._discriminator, semantics, real, fake)
        _move(self.discriminator_optimizer, loss)
        return float(loss.detach())


class UNetStep:
    """One step of a U-Net on volumes (B, 1, z, y, x)."""

    def __init__(self, network: nn.Module, *, rate: float = 1e-3, context: Context = contextlib.nullcontext):
        self._network, self._context = network, context
        self.optimizer = KerasAdam(network.parameters(), rate, (0.9, 0.999))

    def __call__(self, images: Tensor, labels: Tensor) -> float:
        self._network.train()
        with self._context():
            loss = torch_losses.segmentation_loss(self._network(images), labels)
        _move(self.optimizer, loss)
        return float(loss.detach())


def _move(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
