"""The latents of training volumes, and the normal distribution that is fitted to them and sampled."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from fedsim_tf.errors import InputError
from fedsim_tf.models.arguments import check_counts

# The covariance is shrunk towards a multiple of the identity. Estimators that choose the amount from the data (OAS,
# Ledoit and Wolf) choose 1 for a dozen points in 64 dimensions. The normal is then a ball, and its samples hardly leave
# the mean in the directions that were learnt.
SHRINKAGE = 0.1
Seed = int | np.random.Generator


class LatentTable(tf.Module):
    """One learnt latent for each volume (generative latent optimization), drawn from N(0, I) at the start.

    Args:
      count: volumes; may be 0.
      dim: length of each latent.
      seed: what the initial latents are drawn from.

    Raises:
      InputError: a negative count, or a length below one.
    """

    def __init__(self, count: int, dim: int = 64, *, seed: Seed):
        if count < 0:
            raise InputError("count", found=count, expected="at least 0 volumes")
        check_counts(dim=dim)
        super().__init__(name="latents")
        self.table = tf.Variable(np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32), name="z")

    def lookup(self, indices: tf.Tensor) -> tf.Tensor:
        """Return the latents (B, d) of volumes with these numbers (B,)."""
        return tf.gather(self.table, indices)

    def project(self, radius: float) -> None:
        """Move latents outside the ball of radius `radius` * sqrt(d) to its surface (Bojanowski et al. 2018).

        Args:
          radius: in units of sqrt(d); 0 leaves all latents where they are.
        """
        if radius:
            limit = radius * self.table.shape[1] ** 0.5
            self.table.assign(tf.clip_by_norm(self.table, limit, axes=1))


@dataclasses.dataclass(frozen=True, eq=False)
class LatentDistribution:
    """A multivariate normal distribution of latents: mean (d,) and covariance (d, d)."""

    mean: np.ndarray
    covariance: np.ndarray

    @functools.cached_property
    def root(self) -> np.ndarray:
        """A square root R (d, d) of the covariance R R^T, which turns standard normal noise into deviations."""
        values, vectors = np.linalg.eigh(self.covariance)
        return vectors * np.sqrt(np.maximum(values, 0.0))

    def sample(self, count: int, *, seed: Seed) -> np.ndarray:
        """Return latents (count, d), float32; see `draw_latents`."""
        return draw_latents(self.mean, self.root, count, seed=seed)


def draw_latents(mean: np.ndarray, root: np.ndarray, count: int, *, seed: Seed, spread: float = 1.0) -> np.ndarray:
    """Draw latents from a normal distribution. The first ones are the same whatever the count, to the last bit.

    Args:
      mean: (d,).
      root: a square root R (d, d) of the covariance R R^T.
      count: how many.
      seed: what they are drawn from.
      spread: a factor on every deviation from the mean.

    Returns:
      (count, d), float32.
    """
    noise = np.random.default_rng(seed).standard_normal((count, len(mean)))
    # A matrix product adds up in an order that may depend on the count; einsum does not.
    return (mean + spread * np.einsum("ij,nj->ni", root, noise)).astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class LatentStatistics:
    """The count, sum (d,) and sum of outer products (d, d) of latents, which is all that sites send about them."""

    count: int
    sum: np.ndarray
    sum_outer: np.ndarray

    @classmethod
    def of(cls, z: np.ndarray, *, largest_norm: float = 0.0) -> LatentStatistics:
        """Return the statistics of latents (n, d), summed in double precision.

        Args:
          z: the latents.
          largest_norm: latents that are longer are scaled down to this length first; 0: none is.
        """
        z = np.asarray(z, np.float64)
        if largest_norm:
            z = z * (largest_norm / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), largest_norm))
        return cls(len(z), z.sum(0), z.T @ z)

    def __add__(self, other: LatentStatistics) -> LatentStatistics:
        return LatentStatistics(self.count + other.count, self.sum + other.sum, self.sum_outer + other.sum_outer)

    def distribution(self) -> LatentDistribution:
        """Return the normal distribution that these latents are a sample of.

        The covariance is the unbiased one: the sum over four latents divided by four would be a quarter too small, and
        samples would be too alike. It is shrunk, as a few latents do not span all dimensions.

        Raises:
          InputError: fewer than two latents.
        """
        from sklearn.covariance import shrunk_covariance  # here, as every process of a federation imports this module

        if self.count < 2:
            raise InputError("latents", found=self.count, expected="at least 2")
        mean = self.sum / self.count
        covariance = (self.sum_outer - self.count * np.outer(mean, mean)) / (self.count - 1)
        return LatentDistribution(mean, shrunk_covariance(covariance, shrinkage=SHRINKAGE))
