"""A mixture of Student's t on positions and von Mises-Fisher on normals: E-step, and M-step of the scalars.

Ravikumar et al., "Generalised coherent point drift for group-wise registration of multi-dimensional point sets",
MICCAI 2017. Components share the spread sigma and the concentration kappa; each has its own degrees of freedom nu.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import digamma, gammaln

NU_RANGE = (1.0, 50.0)
KAPPA_RANGE = (0.1, 60.0)
_BISECTIONS = 45
_LEAST_LOG = np.float32(-50)


class Mixture(NamedTuple):
    """The M components of a mixture.

    Attributes:
      points: (M, 3) centres in mm.
      normals: (M, 3) unit vectors.
      log_share: (M,) logarithms of the mixing shares.
      nu: (M,) degrees of freedom.
      sigma: spread in mm.
      kappa: concentration of the normals.
    """

    points: np.ndarray
    normals: np.ndarray
    log_share: np.ndarray
    nu: np.ndarray
    sigma: float
    kappa: float

    def part(self, numbers: slice) -> Mixture:
        """Return the mixture of some of the components."""
        return self._replace(
            points=self.points[numbers],
            normals=self.normals[numbers],
            log_share=self.log_share[numbers],
            nu=self.nu[numbers],
        )


class Statistics(NamedTuple):
    """Sums over points that the M-step needs, with responsibilities P and Student's robust weights u.

    Attributes:
      responsibility: sum P, (M,).
      weight: sum P u, (M,).
      position: sum P u x, (M, 3).
      normal: sum P n, (M, 3).
      log_weight: sum P (log u - u), (M,).
      squares: sum P u |x|^2 over all components.
    """

    responsibility: np.ndarray
    weight: np.ndarray
    position: np.ndarray
    normal: np.ndarray
    log_weight: np.ndarray
    squares: float

    def squared_distances(self, points: np.ndarray) -> float:
        """Return sum P u |x - mu|^2 for component centres mu (M, 3)."""
        cross = np.einsum("ij,ij->", self.position, points)
        return max(self.squares - 2 * cross + float(self.weight @ np.sum(points**2, axis=1)), 0.0)


def add(parts: list[Statistics]) -> Statistics:
    """Return the sum of several subjects' statistics, all in one frame."""
    return Statistics(*(sum(values) for values in zip(*parts, strict=True)))  # type: ignore[arg-type]


def join(parts: list[Statistics]) -> Statistics:
    """Return the statistics of all components from those of consecutive blocks."""
    return Statistics(
        np.concatenate([part.responsibility for part in parts]),
        np.concatenate([part.weight for part in parts]),
        np.concatenate([part.position for part in parts]),
        np.concatenate([part.normal for part in parts]),
        np.concatenate([part.log_weight for part in parts]),
        sum(part.squares for part in parts),
    )


def student_t_log(squared: np.ndarray, nu: np.ndarray, sigma: float) -> np.ndarray:
    """Return the log density of an isotropic Student's t in three dimensions at squared distances (mm^2)."""
    constant = gammaln((nu + 3) / 2) - gammaln(nu / 2) - 1.5 * np.log(np.pi * nu) - 3 * np.log(sigma)
    return constant - (nu + 3) / 2 * np.log1p(squared / (nu * sigma**2))


def expectation(points: np.ndarray, normals: np.ndarray, mixture: Mixture) -> Statistics:
    """Return the statistics of the E-step for points (N, 3) in mm with unit normals (N, 3), all of this mixture."""
    x, mu = points.astype(np.float32), mixture.points.astype(np.float32)
    nu = mixture.nu.astype(np.float32)
    squared = np.sum(x**2, axis=1)[:, None] + np.sum(mu**2, axis=1) - 2 * (x @ mu.T)
    np.maximum(squared, 0, out=squared)
    scaled = np.divide(squared, np.float32(mixture.sigma**2), out=squared)
    log_tail = np.log1p(scaled / nu)
    # The normaliser of von Mises-Fisher is common to all components and drops out.
    log_constant = (mixture.log_share + student_t_log(np.zeros(len(nu)), mixture.nu, mixture.sigma)).astype(np.float32)
    cosine = normals.astype(np.float32) @ mixture.normals.T.astype(np.float32)
    joint = log_constant - (nu + 3) / 2 * log_tail + np.float32(mixture.kappa) * cosine
    joint -= joint.max(axis=1, keepdims=True)
    np.maximum(joint, _LEAST_LOG, out=joint)  # denormal numbers would be slow
    responsibility = np.exp(joint, out=joint)
    responsibility /= responsibility.sum(axis=1, keepdims=True)
    log_u = np.log((nu + 3) / nu) - log_tail
    u = (nu + 3) / (nu + scaled)
    weight = responsibility * u
    log_u -= u
    return Statistics(
        responsibility.sum(axis=0, dtype=np.float64),
        weight.sum(axis=0, dtype=np.float64),
        (weight.T @ x).astype(np.float64),
        (responsibility.T @ normals.astype(np.float32)).astype(np.float64),
        np.einsum("nm,nm->m", responsibility, log_u).astype(np.float64),
        float(weight.sum(axis=1, dtype=np.float64) @ np.sum(points.astype(np.float64) ** 2, axis=1)),
    )


def update_nu(nu: np.ndarray, statistics: Statistics) -> np.ndarray:
    """Return degrees of freedom (M,): the root of the digamma equation (Peel & McLachlan 2000), in `NU_RANGE`."""
    mean = statistics.log_weight / np.maximum(statistics.responsibility, 1e-12)
    constant = 1 + mean + digamma((nu + 3) / 2) - np.log((nu + 3) / 2)
    lower, upper = (np.full(len(nu), np.log(bound)) for bound in NU_RANGE)
    for _ in range(_BISECTIONS):  # log(x) - digamma(x) falls with x
        middle = 0.5 * (lower + upper)
        half = np.exp(middle) / 2
        above = np.log(half) - digamma(half) + constant > 0
        lower, upper = np.where(above, middle, lower), np.where(above, upper, middle)
    return np.exp(0.5 * (lower + upper))


def update_kappa(mean_cosine: float) -> float:
    """Return kappa with coth(kappa) - 1/kappa equal to the normals' mean cosine, in `KAPPA_RANGE`."""
    lower, upper = KAPPA_RANGE
    for _ in range(_BISECTIONS):
        middle = 0.5 * (lower + upper)
        if 1 / np.tanh(middle) - 1 / middle < mean_cosine:
            lower = middle
        else:
            upper = middle
    return 0.5 * (lower + upper)


def normalize(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (n, 3) at unit length."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(float).tiny)
