"""The body on which scans are compared; without TensorFlow, for machines that have only a GPU and NumPy."""

from __future__ import annotations

import numpy as np


def body(size: int) -> np.ndarray:
    """Return a smooth body with ripples that ends within the volume (size, size, size), attenuation in 1/mm."""
    z, y, x = np.meshgrid(*[(np.arange(size) + 0.5) / size * 2 - 1] * 3, indexing="ij")
    radius = np.sqrt((x / 0.8) ** 2 + (y / 0.7) ** 2 + (z / 0.6) ** 2)
    ripple = 1 + 0.2 * np.sin(9 * x) * np.cos(7 * y)
    return (0.02 * np.clip((1 - radius) * 8, 0, 1) * ripple).astype(np.float32)


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the relative root mean square difference of (1, ...) and (...).

    The border is left out, as transposes are defined differently there.
    """
    inner = (slice(2, -2),) * 3
    a, b = np.asarray(ours, np.float64)[0][inner], np.asarray(theirs, np.float64)[inner]
    return float(np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2)))
