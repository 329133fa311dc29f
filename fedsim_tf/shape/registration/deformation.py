"""Coherent displacement fields: Gaussian kernel matrices of low rank."""

from __future__ import annotations

import numpy as np

_OVERSAMPLING = 20
_SMALLEST = 1e-7  # relative to the largest eigenvalue; below it float32 has nothing but rounding


def kernel_factor(points: np.ndarray, width_mm: float, rank: int) -> np.ndarray:
    """Return F (M, K) with F F^T close to the kernel matrix G_ij = exp(-|x_i - x_j|^2 / (2 width^2)) of points (M, 3).

    F is made of the leading `rank` eigenpairs, found by randomised subspace iteration (Halko et al. 2011) in float32.
    """
    x = (points - points.mean(axis=0)).astype(np.float32)
    squares = np.sum(x**2, axis=1)
    kernel = x @ x.T
    kernel *= 2
    kernel -= squares
    kernel -= squares[:, None]
    kernel /= np.float32(2 * width_mm**2)
    np.exp(kernel, out=kernel)
    wanted = min(rank + _OVERSAMPLING, len(x))
    base = np.random.default_rng(0).standard_normal((len(x), wanted)).astype(np.float32)
    for _ in range(2):
        base, _ = np.linalg.qr(kernel @ base)
    small = base.T @ (kernel @ base)
    values, vectors = np.linalg.eigh(0.5 * (small + small.T))
    values, vectors = values[::-1][:rank], vectors[:, ::-1][:, :rank]
    kept = values > _SMALLEST * values[0]
    return ((base @ vectors[:, kept]) * np.sqrt(values[kept])).astype(np.float64)


def displacement(factor: np.ndarray, weight: np.ndarray, force: np.ndarray, *, stiffness: float) -> np.ndarray:
    """Return v = G W with (diag(d) G + stiffness I) W = force, for G = F F^T.

    By the push-through identity v = F (F^T diag(d) F + stiffness I)^-1 F^T force, which is a system of the rank's size.

    Args:
      factor: F (M, K).
      weight: d (M,), not negative.
      force: (M, 3).
      stiffness: lambda sigma^2.

    Returns:
      v (M, 3).
    """
    system = factor.T @ (weight[:, None] * factor)
    system[np.diag_indices_from(system)] += stiffness
    return factor @ np.linalg.solve(system, factor.T @ force)
