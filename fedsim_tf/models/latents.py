"""Latents of the training volumes, and the normal that is fitted to them and sampled."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf
from sklearn.covariance import shrunk_covariance

from fedsim_tf.errors import InputError

# Towards a multiple of the identity. Estimators that choose it from the data (OAS, Ledoit and Wolf) choose 1 for a
# dozen points in 64 dimensions, and samples of such a ball hardly leave the mean in the directions that were learnt.
SHRINKAGE = 0.1
Seed = int | np.random.Generator


class LatentTable(tf.Module):
    """One learnt latent for each volume (generative latent optimization), N(0, I) at the start."""

    def __init__(self, count: int, dim: int = 64, *, seed: Seed = 0):
        super().__init__(name="latents")
        self.table = tf.Variable(np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32), name="z")

    def lookup(self, indices: tf.Tensor) -> tf.Tensor:
        """Latents (B, d) of volumes (B,)."""
        return tf.gather(self.table, indices)

    def project(self, radius: float) -> None:
        """Moves latents outside the ball of `radius` * sqrt(d) to its surface (Bojanowski et al. 2018); 0: no ball."""
        if radius:
            limit = radius * self.table.shape[1] ** 0.5
            self.table.assign(tf.clip_by_norm(self.table, limit, axes=1))


@dataclasses.dataclass(frozen=True, eq=False)
class LatentDistribution:
    """A multivariate normal: mean (d,), covariance (d, d)."""

    mean: np.ndarray
    covariance: np.ndarray

    def sample(self, count: int, *, seed: Seed) -> np.ndarray:
        """(count, d) float32."""
        rng = np.random.default_rng(seed)
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        return (self.mean + rng.standard_normal((count, len(self.mean))) @ root.T).astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class LatentStatistics:
    """Count, sum (d,) and sum of outer products (d, d) of latents: all that sites send of them."""

    count: int
    sum: np.ndarray
    sum_outer: np.ndarray

    @classmethod
    def of(cls, z: np.ndarray) -> LatentStatistics:
        z = np.asarray(z, np.float64)
        return cls(len(z), z.sum(0), z.T @ z)

    def __add__(self, other: LatentStatistics) -> LatentStatistics:
        return LatentStatistics(self.count + other.count, self.sum + other.sum, self.sum_outer + other.sum_outer)

    def distribution(self) -> LatentDistribution:
        """The normal of which these are a sample; its covariance shrunk, as a few points do not span all dimensions.

        The covariance is the unbiased one: that of four latents, divided by four, would be a quarter too small, and
        samples too alike.
        """
        if self.count < 2:
            raise InputError("latents", found=self.count, expected="at least 2")
        mean = self.sum / self.count
        covariance = (self.sum_outer - self.count * np.outer(mean, mean)) / (self.count - 1)
        return LatentDistribution(mean, shrunk_covariance(covariance, shrinkage=SHRINKAGE))
