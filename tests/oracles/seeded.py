"""Weights and inputs from NumPy alone, the same for both sides of a comparison and for recorded numbers."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

LEARNT_SHORTCUTS = (3, 4, 5, 6)  # blocks of the generator where the width changes
GAN_SIZE, GAN_WIDTH, GAN_BATCH = 32, 4, 2
SEMANTICS = {"": 3, "regions ": 9}  # channels of the enhancement network's input, by the prefix of recorded numbers
UNET_SIZE, UNET_WIDTH = 32, 2
# Variables of Keras's layers, and what PyTorch calls them.
VARIABLES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "u": "weight_u",
}


def generator_layers() -> list[str]:
    """Return the paths of the generator's layers that have variables."""
    names = ["first"]
    for number in range(7):
        parts = [("spade_0", "conv_0"), ("spade_1", "conv_1")]
        if number in LEARNT_SHORTCUTS:
            parts.append(("spade_shortcut", "conv_shortcut"))
        for spade, convolution in parts:
            names += [f"blocks.{number}.{spade}.{layer}" for layer in ("norm", "shared", "gamma", "beta")]
            names.append(f"blocks.{number}.{convolution}")
    return [*names, "last"]


def discriminator_layers() -> list[str]:
    parts = ("first", "middle.0", "middle.1", "middle.2", "last")
    return [f"discriminators.{scale}.{part}" for scale in range(2) for part in parts]


def unet_layers() -> list[str]:
    first = {"down": ["convolutions.0"], "up": ["convolutions.0.up", "convolutions.0.convolution"]}
    blocks = [("down", level) for level in range(4)] + [("up", level) for level in range(3)]
    names = [
        f"{side}.{level}.{kind}"
        for side, level in blocks
        for kind in (*first[side], "norms.0", "convolutions.1", "norms.1")
    ]
    return [*names, "head"]


def layer_at(network: tf.Module, path: str) -> tf.Module:
    """Return the layer at a path such as "blocks.3.conv_0"."""
    step = lambda at, key: at[int(key)] if key.isdigit() else getattr(at, key)  # noqa: E731
    return functools.reduce(step, path.split("."), network)


def variables(network: tf.Module, layers: list[str]) -> Iterator[tuple[str, tf.Variable]]:
    """Yield every variable with its name, "<layer>.<kind>", in an order that does not depend on the network's own."""
    for path in layers:
        layer = layer_at(network, path)
        # A SPADE has layers called gamma and beta; a normalisation, variables.
        found = ((kind, getattr(layer, kind, None)) for kind in VARIABLES)
        yield from ((f"{path}.{kind}", variable) for kind, variable in found if isinstance(variable, tf.Variable))


def fill(network: tf.Module, layers: list[str], *, seed: int) -> None:
    """Give a network random weights, of a size at which every part of it matters."""
    rng = np.random.default_rng(seed)
    for name, variable in variables(network, layers):
        noise = rng.standard_normal(variable.shape)
        variable.assign(_weights(name.rsplit(".", 1)[1], noise).astype(np.float32))


def _weights(kind: str, noise: np.ndarray) -> np.ndarray:
    if kind == "kernel":
        return noise / np.sqrt(np.prod(noise.shape[:-1]))
    if kind == "u":
        return noise / np.linalg.norm(noise)
    if kind in ("gamma", "moving_variance"):
        return np.exp(0.2 * noise)
    return 0.2 * noise


def vgg_arrays(*, seed: int, widths: Sequence[int] = (64, 128, 256, 512, 512)) -> dict[str, np.ndarray]:
    """Return kernels (He's rule) and biases of VGG-19 as far as relu5_1, by Keras's names; blocks have these widths."""
    rng, arrays, inputs = np.random.default_rng(seed), {}, 3
    for block, (width, count) in enumerate(zip(widths, (2, 2, 4, 4, 1), strict=True), start=1):
        for number in range(1, count + 1):
            noise = rng.standard_normal((3, 3, inputs, width))
            kernel = np.sqrt(2.0 / (9 * inputs)) * noise
            arrays[f"block{block}_conv{number}/kernel"] = kernel.astype(np.float32)
            arrays[f"block{block}_conv{number}/bias"] = np.zeros(width, np.float32)
            inputs = width
    return arrays


def gan_inputs(step: int, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return semantics (B, y, x, channels) and real slices (B, y, x)."""
    rng = np.random.default_rng(100 + step)
    edges = (GAN_BATCH, GAN_SIZE, GAN_SIZE)
    return rng.uniform(-1, 1, (*edges, channels)).astype(np.float32), rng.uniform(-1, 1, edges).astype(np.float32)


def unet_inputs(step: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images and masks (1, z, y, x, 1)."""
    rng = np.random.default_rng(200 + step)
    images = rng.uniform(-1, 1, (1, *[UNET_SIZE] * 3, 1)).astype(np.float32)
    return images, (images + rng.uniform(-1, 1, images.shape) > 0.5).astype(np.float32)
