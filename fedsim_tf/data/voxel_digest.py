"""A digest of a CT's voxels that is the same in whatever order and direction a file stores its axes."""

from __future__ import annotations

import hashlib

import numpy as np

# Sums of whole numbers below 2^53 are exact, so that the order of the voxels does not count.
_STEPS_PER_HU = 16
_MOST_HU = 4096.0


def digest_voxels(array: np.ndarray) -> str:
    """Return a digest of an array's shape and values, whatever type, header, order or direction of axes a file had.

    What is digested are the sums of the values and of their squares over each plane across each axis, read from the
    end that gives the smaller digest, so that a flip of an axis changes nothing and neither does a permutation.
    Values are rounded to a sixteenth of a HU and clipped to 4096 HU.

    Args:
      array: finite CT values (z, y, x) in HU.
    """
    profiles = _sum_planes(array)
    each = sorted(min(_digest(profile), _digest(profile[::-1])) for profile in profiles)
    return hashlib.blake2b(b"".join(each), digest_size=16).hexdigest()


def _sum_planes(array: np.ndarray) -> list[np.ndarray]:
    """Return, for each axis of n voxels, the sums (n, 2) of the values and of their squares over the other two."""
    sums = [np.zeros((length, 2)) for length in array.shape]
    for number, part in enumerate(array):  # slice by slice, as a copy of a whole CT takes gigabytes
        steps = np.rint(np.clip(part.astype(np.float32), -_MOST_HU, _MOST_HU) * np.float32(_STEPS_PER_HU))
        for moment, values in enumerate((steps.astype(np.float64), np.square(steps, dtype=np.float64))):
            rows = values.sum(axis=1)
            sums[0][number, moment] = rows.sum()
            sums[1][:, moment] += rows
            sums[2][:, moment] += values.sum(axis=0)
    return sums


def _digest(profile: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(profile + 0.0).tobytes(), digest_size=16).digest()
