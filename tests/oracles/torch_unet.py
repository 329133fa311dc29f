"""The 3D U-Net of Cicek et al. (MICCAI 2016) in PyTorch, with "same" padding."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LEVELS = 4


class DoubleConvolution(nn.Module):
    """Two convolutions, each followed by batch norm and ReLU."""

    def __init__(self, first: nn.Module, second: nn.Conv3d):
        super().__init__()
        self.convolutions = nn.ModuleList([first, second])
        # Without running statistics those of the batch are used after training too.
        widths = (second.in_channels, second.out_channels)
        self.norms = nn.ModuleList(nn.BatchNorm3d(width, track_running_stats=False) for width in widths)

    def forward(self, *maps: Tensor) -> Tensor:
        first, second = self.convolutions
        out = functional.relu(self.norms[0](first(*maps)))
        return functional.relu(self.norms[1](second(out)))


class JoiningConvolution(nn.Module):
    """A convolution of skipped maps beside up-convolved ones."""

    def __init__(self, shallow: int, deep: int):
        super().__init__()
        self.up = nn.ConvTranspose3d(deep, deep, 2, 2)
        self.convolution = _convolution(shallow + deep, shallow)

    def forward(self, skipped: Tensor, coarse: Tensor) -> Tensor:
        return self.convolution(torch.cat([skipped, self.up(coarse)], dim=1))


class UNet3D(nn.Module):
    """CT (B, 1, z, y, x) to logits (B, 1, z, y, x)."""

    def __init__(self, width: int = 32):
        super().__init__()
        channels = [1, *(width * 2 ** (level + 1) for level in range(LEVELS))]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level in range(LEVELS):
            first, second = width * 2**level, channels[level + 1]
            self.down.append(DoubleConvolution(_convolution(channels[level], first), _convolution(first, second)))
        for level in reversed(range(1, LEVELS)):
            shallow, deep = channels[level], channels[level + 1]
            self.up.append(DoubleConvolution(JoiningConvolution(shallow, deep), _convolution(shallow, shallow)))
        self.head = nn.Conv3d(channels[1], 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = [self.down[0](images)]
        for block in self.down[1:]:
            maps.append(block(functional.max_pool3d(maps[-1], 2)))
        out = maps.pop()
        for block in self.up:
            out = block(maps.pop(), out)
        return self.head(out)


def _convolution(channels: int, filters: int) -> nn.Conv3d:
    return nn.Conv3d(channels, filters, 3, padding=1)
