"""Differential privacy of what leaves a site: gradients, moments of latents and losses are bounded and get noise.

Each answer protects the data of a site as a whole: any two data sets give bounded values that are at most twice the
bound apart, and the noise is in units of the bound (the Gaussian mechanism; Abadi et al. 2016 for gradients). Noise
comes from the operating system's entropy, not from the run's seed, which the server knows. Numbers of volumes are sent
as they are. What it amounts to is in `privacy_account`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from fedsim_tf.config import FederatedConfig
from fedsim_tf.federated.update import Arrays, measure_norm
from fedsim_tf.models.latents import LatentStatistics

LARGEST_LOSS = 1.0  # what L_IoU, a Dice loss and squared errors of scaled volumes do not exceed
LOSS_FACTOR = 10.0  # by which losses have more noise than gradients: nobody learns from them
_SLACK = 1e-6  # relative error of a norm that is put down to rounding
# Half of the largest distance between (z, z z^T) and (w, w w^T) for |z|, |w| <= 1. Where both are of length 1, at an
# angle whose cosine is c, its square is 4 - 2 c - 2 c^2, which is largest for c = -1/2. Means of such pairs are no
# further apart, whatever their numbers.
MOMENTS_BOUND = 3 / math.sqrt(2) / 2
_CERTAIN = 3.0  # standard deviations by which the squared length of noise alone is hardly ever exceeded


def describe_noise(settings: FederatedConfig) -> dict[str, float]:
    """Return the settings of the noise on all that leaves a site, by name; nothing without noise."""
    names = ("clip_norm", "clip_latents", "noise_multiplier") if settings.noise_multiplier else ()
    return {name: float(getattr(settings, name)) for name in names}


def privatize(gradients: Arrays, *, bound: float, multiplier: float) -> dict[str, np.ndarray]:
    """Scale gradients to a Euclidean norm of at most `bound` together, and add normal noise to each value.

    Args:
      gradients: gradients by name, float32.
      bound: the largest norm; 0: gradients are returned as they are.
      multiplier: standard deviation of the noise in units of `bound`.

    Returns:
      The new gradients by name, float32.

    Raises:
      FloatingPointError: the gradients cannot be scaled to the norm, as they are not finite.
    """
    if not bound:
        return dict(gradients)
    clipped = {name: value.astype(np.float64) for name, value in gradients.items()}
    norm = measure_norm(clipped)
    if norm > bound:
        clipped = {name: value * (bound / norm) for name, value in clipped.items()}
    if not measure_norm(clipped) <= bound * (1 + _SLACK):
        raise FloatingPointError(f"gradients of norm {norm:g} that cannot be clipped to {bound:g}")
    rng = _make_generator()
    return {
        name: (value + multiplier * bound * rng.standard_normal(value.shape)).astype(np.float32)
        for name, value in clipped.items()
    }


def privatize_moments(moments: LatentStatistics, *, bound: float, multiplier: float) -> LatentStatistics:
    """Add normal noise to the moments of latents, and make of them moments that latents can have.

    Noise is added to the mean of z / bound and to that of z z^T / bound^2 together. The latter is symmetric: in an
    orthonormal basis of the symmetric matrices each coordinate gets the same noise. What follows uses these noisy
    values alone and gives nothing more away. Where they differ from those of N(0, I), which latents are drawn from at
    first, by no more than noise does, they are set to them; elsewhere they are drawn towards them (James and Stein
    1961). The covariance is made positive semi-definite, with a trace of at most bound^2.

    Args:
      moments: moments of latents none of which is longer than `bound`.
      bound: the largest length of a latent.
      multiplier: standard deviation of the noise in units of `MOMENTS_BOUND`; 0: moments are returned as they are.

    Raises:
      FloatingPointError: latents are longer than the bound, or not finite.
    """
    if not multiplier:
        return moments
    count, length = moments.count, len(moments.sum)
    # With a trace of at most n bound^2 they are means of pairs (z, z z^T) with |z| <= bound: the distance above holds.
    if not float(np.trace(moments.sum_outer)) <= count * bound**2 * (1 + _SLACK):
        raise FloatingPointError(f"moments of latents that are longer than {bound:g}")
    rng, width = _make_generator(), multiplier * MOMENTS_BOUND
    drawn = rng.standard_normal((length, length))
    mean = bound * (moments.sum / (count * bound) + width * rng.standard_normal(length))
    second = bound**2 * (moments.sum_outer / (count * bound**2) + width * (drawn + drawn.T) / 2)
    mean = _shrink(mean, np.zeros(length), noise=width * bound, dimensions=length)
    dimensions = length * (length + 1) // 2
    second = _shrink(second, np.eye(length), noise=width * bound**2, dimensions=dimensions)
    return _make_possible(mean, second, count=count, bound=bound)


def _shrink(values: np.ndarray, target: np.ndarray, *, noise: float, dimensions: int) -> np.ndarray:
    """Return noisy values drawn towards a target: all the way where noise alone would be as far from it."""
    found = float(np.sum((values - target) ** 2))
    by_noise = noise**2 * (dimensions + _CERTAIN * math.sqrt(2 * dimensions))
    return target + max(0.0, 1 - by_noise / found) * (values - target) if found else target


def _make_possible(mean: np.ndarray, second: np.ndarray, *, count: int, bound: float) -> LatentStatistics:
    """Return moments with a positive semi-definite covariance, of latents that are hardly longer than the bound."""
    mean = mean * (bound / max(float(np.linalg.norm(mean)), bound))
    values, vectors = np.linalg.eigh(second - np.outer(mean, mean))
    values = np.maximum(values, 0.0)
    values *= bound**2 / max(float(values.sum()), bound**2)
    covariance = (vectors * values) @ vectors.T
    return LatentStatistics(count, count * mean, count * (covariance + np.outer(mean, mean)))


def privatize_losses(losses: Mapping[str, float], *, multiplier: float) -> dict[str, float]:
    """Bring losses within 0 to `LARGEST_LOSS` and add normal noise, `LOSS_FACTOR` times that of gradients.

    Half of the largest distance between two vectors of k such losses is LARGEST_LOSS sqrt(k) / 2.

    Args:
      losses: losses by name.
      multiplier: standard deviation of gradients' noise in units of their bound; 0: losses are returned as they are.
    """
    if not multiplier:
        return dict(losses)
    rng, width = _make_generator(), LOSS_FACTOR * multiplier * LARGEST_LOSS * math.sqrt(len(losses)) / 2
    return {
        name: min(max(float(value), 0.0), LARGEST_LOSS) + width * float(rng.standard_normal())
        for name, value in losses.items()
    }


def _make_generator() -> np.random.Generator:
    """Return a generator that the operating system seeds, anew for every answer."""
    return np.random.Generator(np.random.PCG64DXSM())
