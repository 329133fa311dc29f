"""GauGAN in PyTorch, plainly from Park et al. (CVPR 2019) and, for the discriminator, Wang et al. (CVPR 2018).

Modules carry the names of `fedsim_tf.models`' layers, by which `torch_weights` copies from one to the other.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import spectral_norm

HIDDEN, SLOPE, START = 128, 0.2, 4
WIDTHS = (16, 16, 16, 8, 4, 2, 1)
UPSAMPLED_BLOCKS = {128: (1, 3, 4, 5, 6), 64: (3, 4, 5, 6), 32: (4, 5, 6)}


def resize(maps: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Resize to the nearest neighbour at each pixel's centre; PyTorch's "nearest" takes the one in the corner."""
    return functional.interpolate(maps, size, mode="nearest-exact")


class Spade(nn.Module):
    """Batch norm without parameters, scaled by 1 + gamma and shifted by beta of the semantics."""

    def __init__(self, channels: int, semantics: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.shared = nn.Conv2d(semantics, HIDDEN, 3, padding=1)
        self.gamma = nn.Conv2d(HIDDEN, channels, 3, padding=1)
        self.beta = nn.Conv2d(HIDDEN, channels, 3, padding=1)

    def forward(self, features: Tensor, semantics: Tensor) -> Tensor:
        hidden = functional.relu(self.shared(resize(semantics, features.shape[2:])))
        return self.norm(features) * (1 + self.gamma(hidden)) + self.beta(hidden)


class SpadeResidualBlock(nn.Module):
    """SPADE, leaky ReLU and convolution, twice; the shortcut is learnt where the width changes."""

    def __init__(self, channels: int, filters: int, semantics: int):
        super().__init__()
        middle = min(channels, filters)
        self.spade_0, self.spade_1 = Spade(channels, semantics), Spade(middle, semantics)
        self.conv_0 = spectral_norm(nn.Conv2d(channels, middle, 3, padding=1))
        self.conv_1 = spectral_norm(nn.Conv2d(middle, filters, 3, padding=1))
        self.has_learnt_shortcut = channels != filters
        if self.has_learnt_shortcut:
            self.spade_shortcut = Spade(channels, semantics)
            self.conv_shortcut = spectral_norm(nn.Conv2d(channels, filters, 1, bias=False))

    def forward(self, features: Tensor, semantics: Tensor) -> Tensor:
        out = self.conv_0(functional.leaky_relu(self.spade_0(features, semantics), SLOPE))
        out = self.conv_1(functional.leaky_relu(self.spade_1(out, semantics), SLOPE))
        if self.has_learnt_shortcut:
            features = self.conv_shortcut(self.spade_shortcut(features, semantics))
        return features + out


class Generator(nn.Module):
    """Semantics (B, S, size, size) to an image (B, 1, size, size) in [-1, 1]."""

    def __init__(self, size: int = 128, width: int = 64, semantics: int = 3):
        super().__init__()
        self.upsampled = UPSAMPLED_BLOCKS[size]
        self.first = nn.Conv2d(semantics, WIDTHS[0] * width, 3, padding=1)
        widths = [WIDTHS[0] * width, *(multiple * width for multiple in WIDTHS)]
        self.blocks = nn.ModuleList(
            SpadeResidualBlock(before, after, semantics) for before, after in itertools.pairwise(widths)
        )
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, semantics: Tensor) -> Tensor:
        out = self.first(resize(semantics, (START, START)))
        for number, block in enumerate(self.blocks):
            if number in self.upsampled:
                out = functional.interpolate(out, scale_factor=2, mode="nearest")
            out = block(out, semantics)
        return torch.tanh(self.last(functional.leaky_relu(out, SLOPE)).float())


class PatchDiscriminator(nn.Module):
    """Images (B, C, y, x) to five feature maps, the logits last."""

    def __init__(self, width: int, channels: int = 4):
        super().__init__()
        self.first = nn.Conv2d(channels, width, 4, 2, padding=2)
        sizes = ((width, 2 * width, 2), (2 * width, 4 * width, 2), (4 * width, 8 * width, 1))
        self.middle = nn.ModuleList(
            spectral_norm(nn.Conv2d(before, after, 4, stride, padding=2, bias=False)) for before, after, stride in sizes
        )
        self.last = nn.Conv2d(8 * width, 1, 4, 1, padding=2)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = [functional.leaky_relu(self.first(images), SLOPE)]
        for convolution in self.middle:
            maps.append(functional.leaky_relu(functional.instance_norm(convolution(maps[-1])), SLOPE))
        return [*maps, self.last(maps[-1])]


class Discriminator(nn.Module):
    """Semantics and image (B, C, y, x) to the feature maps of two scales."""

    def __init__(self, width: int = 64, scales: int = 2, channels: int = 4):
        super().__init__()
        self.discriminators = nn.ModuleList(PatchDiscriminator(width, channels) for _ in range(scales))

    def forward(self, images: Tensor) -> list[list[Tensor]]:
        maps = []
        for discriminator in self.discriminators:
            maps.append(discriminator(images))
            images = functional.avg_pool2d(images, 3, 2, padding=1, count_include_pad=False)
        return maps


class VGG19(nn.Module):
    """relu1_1 ... relu5_1 of grey images (B, 1, y, x) in [-1, 1], on Caffe's scale and with blue first."""

    BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 1))
    MEAN_BGR = (103.939, 116.779, 123.68)

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict()
        channels = 3
        for block, (width, count) in enumerate(self.BLOCKS, start=1):
            for number in range(1, count + 1):
                self.layers[f"block{block}_conv{number}"] = nn.Conv2d(channels, width, 3, padding=1)
                channels = width
        self.register_buffer("mean", torch.tensor(self.MEAN_BGR)[:, None, None])
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps, features = (images.float() + 1) * 127.5 - self.mean, []
        for name, layer in self.layers.items():
            if name.endswith("conv1") and features:
                maps = functional.max_pool2d(maps, 2)
            maps = functional.relu(layer(maps))
            if name.endswith("conv1"):
                features.append(maps)
        return features


def refresh_right_vectors(network: nn.Module) -> None:
    """Set v = W^T u in every spectrally normalised layer.

    PyTorch keeps v from the last training call, and uses it outside of training; `SpectralConv2D` keeps u alone.
    """
    with torch.no_grad():
        for layer in network.modules():
            if hasattr(layer, "weight_v"):
                layer.weight_v.copy_(functional.normalize(layer.weight_orig.flatten(1).T @ layer.weight_u, dim=0))
