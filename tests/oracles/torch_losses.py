"""The losses of GauGAN and of the 3D U-Net in PyTorch, in float32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

PERCEPTUAL_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
Maps = Sequence[Sequence[Tensor]]


def hinge_discriminator_loss(real: Maps, fake: Maps) -> Tensor:
    terms = [
        functional.relu(1 - r[-1].float()).mean() + functional.relu(1 + f[-1].float()).mean()
        for r, f in zip(real, fake, strict=True)
    ]
    return torch.stack(terms).mean()


def hinge_generator_loss(fake: Maps) -> Tensor:
    return -torch.stack([scale[-1].float().mean() for scale in fake]).mean()


def feature_matching_loss(real: Maps, fake: Maps, weight: float = 10.0) -> Tensor:
    terms = [
        functional.l1_loss(f.float(), r.detach().float())
        for real_scale, fake_scale in zip(real, fake, strict=True)
        for r, f in zip(real_scale[:-1], fake_scale[:-1], strict=True)
    ]
    return weight / len(real) * torch.stack(terms).sum()


def perceptual_loss(found: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    terms = [
        weight * functional.l1_loss(f.float(), t.detach().float())
        for weight, f, t in zip(PERCEPTUAL_WEIGHTS, found, target, strict=True)
    ]
    return torch.stack(terms).sum() / 127.5  # features of grey levels, images in [-1, 1]


def segmentation_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Binary cross-entropy plus 1 - soft Dice, which is smoothed by one voxel."""
    logits = logits.float()
    probability, axes = logits.sigmoid(), (1, 2, 3, 4)
    both, total = 2 * (probability * truth).sum(axes), (probability + truth).sum(axes)
    dice = (both + 1) / (total + 1)
    return functional.binary_cross_entropy_with_logits(logits, truth) + (1 - dice).mean()
