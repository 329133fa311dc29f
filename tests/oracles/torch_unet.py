"""The 3D U-Net of Cicek et al. (MICCAI 2016) in PyTorch, with "same" padding."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LEVELS = 4


class DoubleConvolution(nn.Module):
    """Twice a 3^3 convolution, batch norm and ReLU."""

    def __init__(self, channels: int, first: int, second: int):
        super().__init__()
        self.convolutions = nn.ModuleList([nn.Conv3d(channels, first, 3, padding=1)])
        self.convolutions.append(nn.Conv3d(first, second, 3, padding=1))
        self.norms = nn.ModuleList(nn.BatchNorm3d(filters) for filters in (first, second))

    def forward(self, maps: Tensor) -> Tensor:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            maps = functional.relu(norm(convolution(maps)))
        return maps


class UNet3D(nn.Module):
    """CT (B, 1, z, y, x) to logits (B, 1, z, y, x)."""

    def __init__(self, width: int = 32):
        super().__init__()
        channels = [1, *(width * 2 ** (level + 1) for level in range(LEVELS))]
        self.down = nn.ModuleList(
            DoubleConvolution(channels[level], width * 2**level, channels[level + 1]) for level in range(LEVELS)
        )
        self.up, self.join = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(1, LEVELS)):
            deep, shallow = channels[level + 1], channels[level]
            self.up.append(nn.ConvTranspose3d(deep, deep, 2, 2))
            self.join.append(DoubleConvolution(shallow + deep, shallow, shallow))
        self.head = nn.Conv3d(channels[1], 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = [self.down[0](images)]
        for block in self.down[1:]:
            maps.append(block(functional.max_pool3d(maps[-1], 2)))
        out = maps.pop()
        for up, join in zip(self.up, self.join, strict=True):
            out = join(torch.cat([maps.pop(), up(out)], dim=1))
        return self.head(out)
