"""Guess an image from the maps that a network makes of it, by linear regression over random images.

The server knows the encoder and can see what it makes of any image. Of random ones, which show no patient, it learns
the linear map from the maps around a voxel to the block of the image that the voxel stands for. That is no inverse, but
a start that leads descent past most local minima. Normalisation takes the image's own mean and deviation away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from scipy import ndimage

from fedsim_tf.federated.attack.bottleneck import cut_patches

# A guess of any thorax's grey levels in [-1, 1], on which the maps hardly depend.
USUAL_MEAN, USUAL_DEVIATION = -0.3, 0.45
_EQUATIONS = 5  # for each unknown
_RIDGE = 1e-4  # in units of the mean variance
_WIDTHS = (1 / 32, 1 / 16, 1 / 8, 1 / 4)  # of the random structures, in units of the edge

Encoder = Callable[[tf.Tensor], Sequence[tf.Tensor]]


def guess_image(encode: Encoder, maps: Sequence[tf.Tensor], *, edge: int, rng: np.random.Generator) -> np.ndarray:
    """Return an image (edge, edge, edge) of the usual mean and deviation for the maps that were made of it.

    Args:
      encode: makes several maps (1, n, n, n, C) of images (1, z, y, x, 1).
      maps: those of the image that is looked for, each up to a factor.
      edge: voxels along each edge of the image, a multiple of n.
      rng: what random images are drawn from.
    """
    n, unknowns = maps[0].shape[1], 27 * (1 + sum(one.shape[-1] for one in maps))
    images = [draw_image(edge, rng) for _ in range(int(np.ceil(_EQUATIONS * unknowns / n**3)))]
    made = [encode(tf.constant(image[None, ..., None])) for image in images]
    lengths = [np.mean([float(tf.norm(one[number])) for one in made]) for number, _ in enumerate(maps)]
    aim = _raise([one * (length / tf.norm(one)) for one, length in zip(maps, lengths, strict=True)])
    square, product = np.zeros((unknowns, unknowns)), np.zeros((unknowns, (edge // n) ** 3))
    for image, its_maps in zip(images, made, strict=True):
        rows = _raise(its_maps)
        square += rows.T @ rows
        product += rows.T @ _to_blocks(standardize(image), n)
    ridge = _RIDGE * np.trace(square) / len(square) * np.eye(len(square))
    found = _from_blocks(aim @ np.linalg.solve(square + ridge, product), n)
    return USUAL_MEAN + USUAL_DEVIATION * standardize(found)


def draw_image(edge: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random image (edge, edge, edge), float32, within [-1, 1], with structures of several sizes and edges."""
    fields = [ndimage.gaussian_filter(rng.standard_normal((edge,) * 3), width * edge) for width in _WIDTHS]
    mixed = standardize(np.sum([rng.gamma(1.0) * standardize(field) for field in fields], axis=0))
    sharp = np.tanh(rng.uniform(0.5, 4.0) * (mixed + 0.5 * rng.standard_normal()))
    return np.clip(rng.uniform(0.4, 0.7) * sharp + rng.uniform(-0.5, 0.0), -1.0, 1.0).astype(np.float32)


def standardize(image: np.ndarray) -> np.ndarray:
    """Return an image with mean 0 and deviation 1; zeros where it is even."""
    return (image - image.mean()) / max(float(image.std()), 1e-12)


def _raise(maps: Sequence[tf.Tensor]) -> np.ndarray:
    """Return the patches of several maps (1, n, n, n, C), and which of their voxels are inside, as rows."""
    values = np.concatenate([one.numpy()[0].astype(np.float64) for one in maps], axis=-1)
    return cut_patches(np.concatenate([values, np.ones((*values.shape[:3], 1))], axis=-1))


def _to_blocks(image: np.ndarray, n: int) -> np.ndarray:
    edge = len(image) // n
    return image.reshape(n, edge, n, edge, n, edge).transpose(0, 2, 4, 1, 3, 5).reshape(n**3, edge**3)


def _from_blocks(blocks: np.ndarray, n: int) -> np.ndarray:
    edge = round(blocks.shape[1] ** (1 / 3))
    return blocks.reshape(n, n, n, edge, edge, edge).transpose(0, 3, 1, 4, 2, 5).reshape((n * edge,) * 3)
