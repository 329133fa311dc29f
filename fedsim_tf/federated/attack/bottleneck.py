"""Read the deepest maps of a U-Net off its gradients, by linear algebra alone.

The gradient of a convolution's kernel is P^T U, with the patches P (n, 27 C) of its input at n voxels and the
gradients U (n, F) of its outputs. Where the deepest level has no more voxels than its last convolution has filters, the
columns of that gradient span all differences of the input's patches (each column of U adds up to 0, as a normalisation
follows). Patches overlap, so that the input is the one map, up to a factor, whose patches differ within that span: an
eigenvector. The factor does not matter, as the normalisation takes it away.

From there on the server computes what goes up. The gradient of the next convolution's kernel is linear in the gradients
of its outputs for the channels that come from below, which are known now, and then linear in the skipped maps for the
others. Both are overdetermined where 27 times the number of channels exceeds the number of voxels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
from scipy import linalg

from fedsim_tf.federated.attack.reconstruction import correlate
from fedsim_tf.models.convolution3d import halve3d
from fedsim_tf.models.unet3d import UNet3D

AGREEMENT = 0.8  # correlation of two ways to the same maps above which the skipped maps are believed
_MOST_UNKNOWNS = 4096  # values of the deepest maps: the eigenvector is one of a full matrix
_DAMPINGS = (0.1, 0.03, 0.01, 3e-3, 1e-3)  # of least squares, in units of the largest singular value

GradientOf = Callable[[tf.Variable], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Bottleneck:
    """What is known of the second-deepest level of a U-Net, with n voxels along each edge.

    Attributes:
      skipped: the maps (1, n, n, n, C) that go both down and across.
      upstream: the gradients (1, n, n, n, F) of the outputs of the decoder's first convolution.
      agreement: the correlation of the deepest maps as found with those that `skipped` leads to; 1 where all is exact.
    """

    skipped: tf.Tensor
    upstream: tf.Tensor
    agreement: float


def read_bottleneck(network: UNet3D, gradient_of: GradientOf, *, edge: int) -> Bottleneck | None:
    """Return the maps of the second-deepest level; None where the gradients do not tell them.

    Args:
      network: a U-Net with the weights that the server has sent for the round.
      gradient_of: gives the gradient of a variable that came back; any common factor does.
      edge: voxels along each edge of the image.
    """
    deepest, raised = network.down[-1], network.up[0].convolutions[0]
    n = edge // 2 ** (len(network.down) - 1)
    if not _tells_all(raised.convolution.filters, deepest.convolutions[1].kernel.shape[3:], n):
        return None
    seen = gradient_of(deepest.convolutions[1].kernel).astype(np.float64)
    if not seen.any():
        return None
    maps = _find_input(seen, n)
    lowest = tf.nn.relu(deepest.norms[1](deepest.convolutions[1](tf.constant(maps[None], tf.float32))))
    below = raised.up(lowest).numpy()[0].astype(np.float64)
    kernel = gradient_of(raised.convolution.kernel).astype(np.float64)
    found = [_find_skipped(network, maps, below, kernel, damping) for damping in _DAMPINGS]
    best = max(found, key=lambda one: one.agreement)
    return best if best.agreement > AGREEMENT else None


def cut_patches(maps: np.ndarray) -> np.ndarray:
    """Return the 3^3 patch around each voxel of maps (n, n, n, C), zeros beyond the border, as rows (n^3, 27 C)."""
    n = len(maps)
    padded = np.pad(maps, ((1, 1), (1, 1), (1, 1), (0, 0)))
    taps = [padded[z : z + n, y : y + n, x : x + n] for z, y, x in np.ndindex(3, 3, 3)]
    return np.stack(taps, axis=3).reshape(n**3, -1)


def _tells_all(raised_filters: int, deepest: tf.TensorShape, n: int) -> bool:
    """Tell whether there are enough equations for n voxels along each edge of the deepest level."""
    channels, filters = deepest
    return n > 1 and n**3 <= filters and 27 * raised_filters >= (2 * n) ** 3 and n**3 * channels <= _MOST_UNKNOWNS


def _find_input(kernel: np.ndarray, n: int) -> np.ndarray:
    """Return the input (n, n, n, C), not negative, of a convolution whose kernel has this gradient (3, 3, 3, C, F)."""
    channels = kernel.shape[3]
    span = linalg.svd(kernel.reshape(27 * channels, -1), full_matrices=False)[0][:, : n**3 - 1]
    outside = np.eye(27 * channels) - span @ span.T
    # Places of each patch's values among all, with place 0 for the zeros beyond the border.
    places = cut_patches(1.0 + np.arange(n**3 * channels).reshape(n, n, n, channels)).astype(int)
    total = np.zeros((27 * channels, n**3 * channels + 1))
    for place in places:
        total[np.arange(27 * channels), place] += 1
    normal = -total.T @ outside @ total / n**3  # patches less their mean
    for place in places:
        normal[np.ix_(place, place)] += outside
    least = linalg.eigh(normal[1:, 1:], subset_by_index=[0, 0])[1][:, 0]
    maps = np.maximum(least * np.sign(least.sum()), 0.0).reshape(n, n, n, channels)
    return maps / np.sqrt(np.mean(maps**2))


def _find_skipped(
    network: UNet3D, maps: np.ndarray, below: np.ndarray, kernel: np.ndarray, damping: float
) -> Bottleneck:
    """Return the skipped maps by damped least squares.

    Args:
      network: the U-Net.
      maps: the deepest level's maps (n, n, n, C) between its convolutions, up to a factor.
      below: up-convolved maps (2n, 2n, 2n, M).
      kernel: the gradient (3, 3, 3, S + M, F) of the kernel that sees skipped and up-convolved maps.
      damping: the singular value, in units of the largest, below which directions are left out, softly.
    """
    n, (channels, filters) = len(below), (kernel.shape[3] - below.shape[3], kernel.shape[4])
    upstream = _solve(cut_patches(below).T, kernel[..., channels:, :].reshape(-1, filters), damping)
    # Voxel w is the tap k of the patch around w - k, hence the turned order of taps.
    shifted = cut_patches(upstream.reshape(n, n, n, filters)).reshape(n**3, 27, filters)[:, ::-1]
    right = kernel[..., :channels, :].reshape(27, channels, filters).transpose(0, 2, 1).reshape(-1, channels)
    skipped = np.maximum(_solve(shifted.reshape(n**3, -1).T, right, damping), 0.0).reshape(1, n, n, n, channels)
    skipped, upstream = (tf.constant(part, tf.float32) for part in (skipped, upstream.reshape(1, n, n, n, filters)))
    deepest = network.down[-1]
    again = tf.nn.relu(deepest.norms[0](deepest.convolutions[0](halve3d(skipped))))
    return Bottleneck(skipped, upstream, correlate(again.numpy()[0], maps))


def _solve(left: np.ndarray, right: np.ndarray, damping: float) -> np.ndarray:
    """Return the damped least squares solution of left @ x = right."""
    u, values, vh = linalg.svd(left, full_matrices=False)
    inverse = values / (values**2 + (damping * values[0]) ** 2)
    return vh.T @ (inverse[:, None] * (u.T @ right))


def index_gradients(variables: Mapping[str, tf.Variable], gradients: Mapping[str, np.ndarray]) -> GradientOf:
    """Return the function from a variable to its gradient, both given by name."""
    by_variable = {variable.ref(): gradients[name] for name, variable in variables.items()}
    return lambda variable: by_variable[variable.ref()]
