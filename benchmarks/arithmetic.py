"""Count the multiply-adds of a training step, and measure how many a second one large convolution reaches."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor, nn

from tests.oracles.torch_gan import VGG19, Discriminator, Generator
from tests.oracles.torch_unet import UNet3D

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
REPEATS = 7


def multiply_adds(network: nn.Module, *shapes: tuple[int, ...]) -> int:
    """Return the multiply-adds of the convolutions in a forward pass; borders count as if they were inside.

    A convolution takes its kernel's size for each output pixel, a transposed one for each input pixel.
    """
    count = 0

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal count
        maps = inputs[0] if isinstance(layer, nn.ConvTranspose3d) else output
        kernel = getattr(layer, "weight_orig", layer.weight)
        count += maps.numel() // maps.shape[1] * kernel.numel()

    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose3d)
    hooks = [layer.register_forward_hook(add) for layer in network.modules() if isinstance(layer, kinds)]
    network(*(torch.zeros(shape, device="meta") for shape in shapes))
    for hook in hooks:
        hook.remove()
    return count


def unet_step(size: int) -> int:
    """Return the multiply-adds of a U-Net's step, batch 1: forward, gradient to the maps, gradient to the kernels."""
    with torch.device("meta"):
        return 3 * multiply_adds(UNet3D(), (1, 1, size, size, size))


def gan_step(size: int, width: int, discriminator_width: int) -> int:
    """Return the multiply-adds of a step of the discriminator and one of the generator, batch 1.

    The generator goes forward and has gradients to maps and kernels. So has the discriminator, for real and fake; for
    the generator it goes forward once more and has the gradient to the maps. VGG goes forward for real and fake and
    has the gradient to the fake one's maps.
    """
    with torch.device("meta"):
        generator = multiply_adds(Generator(size, width).eval(), (1, 3, size, size))
        pair = multiply_adds(Discriminator(discriminator_width).eval(), (2, 4, size, size))
        features = multiply_adds(VGG19(), (1, 1, size, size))
    return 3 * generator + 5 * pair + 3 * features


def convolution_rate(dimensions: int, precision: str) -> float:
    """Return the multiply-adds a second of a large convolution in PyTorch, channels last: the fastest of several."""
    dtype = DTYPES[precision]
    kind, edge, channels = (nn.Conv2d, 64, 512) if dimensions == 2 else (nn.Conv3d, 32, 128)
    layout = torch.channels_last if dimensions == 2 else torch.channels_last_3d
    layer = kind(channels, channels, 3, padding=1).to(dtype, memory_format=layout)
    maps = torch.randn(1, channels, *[edge] * dimensions).to(dtype, memory_format=layout)
    times = []
    with torch.no_grad():
        for _ in range(REPEATS):
            start = time.perf_counter()
            layer(maps)
            times.append(time.perf_counter() - start)
    return float(maps[0, 0].numel() * layer.weight.numel() / np.min(times))
