"""Normalised correlation of a template with an image at every shift, where both are known in parts alone.

Padfield, Masked object registration in the Fourier domain, IEEE TIP 2012.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

_LEAST = 1e-6  # of a variance: where all is one value nothing correlates


class MaskedCorrelator:
    """Correlates one image with many templates; the image is transformed once.

    Args:
      image: (z, y, x) values.
      known: (z, y, x) weights from 0 to 1: where the image is known.
      largest: the shape (z, y, x) of the largest template.
    """

    def __init__(self, image: np.ndarray, known: np.ndarray, largest: tuple[int, ...]) -> None:
        self._shape = image.shape
        self._padded = [fft.next_fast_len(n + most - 1, True) for n, most in zip(image.shape, largest, strict=True)]
        self._shift = float(np.mean(image))  # squares of values far from 0 would lose digits
        values = np.asarray(image, np.float32) - np.float32(self._shift)
        known = np.asarray(known, np.float32)
        self._image, self._squares = self._transform(values * known), self._transform(values**2 * known)
        self._known = self._transform(known)

    def correlate(self, template: np.ndarray, weights: np.ndarray, *, least_overlap: float = 0.5) -> np.ndarray:
        """Return the correlation (z, y, x) with the template's middle voxel at each of the image's.

        Args:
          template: (z, y, x) values, an odd number along each axis.
          weights: (z, y, x), from 0 to 1: where the template is known.
          least_overlap: the least share of the weights that has to meet known voxels of the image; elsewhere the
            result is -1.
        """
        values = np.asarray(template, np.float32) - np.float32(np.mean(template))
        weights = np.asarray(weights, np.float32)
        flip = (slice(None, None, -1),) * 3
        own, own_squares = self._transform((values * weights)[flip]), self._transform((values**2 * weights)[flip])
        own_weights = self._transform(weights[flip])
        back = lambda spectrum: self._crop_back(spectrum, template.shape)  # noqa: E731
        count = np.maximum(back(self._known * own_weights), 1e-3)
        image_sum, own_sum = back(self._image * own_weights), back(self._known * own)
        covariance = back(self._image * own) - image_sum * own_sum / count
        image_variance = back(self._squares * own_weights) - image_sum**2 / count
        own_variance = back(self._known * own_squares) - own_sum**2 / count
        found = covariance / np.sqrt(np.maximum(image_variance, _LEAST) * np.maximum(own_variance, _LEAST))
        return np.where(count >= least_overlap * weights.sum(), np.clip(found, -1.0, 1.0), -1.0)

    def _transform(self, array: np.ndarray) -> np.ndarray:
        return fft.rfftn(array, self._padded, workers=2)

    def _crop_back(self, spectrum: np.ndarray, template: tuple[int, ...]) -> np.ndarray:
        whole = fft.irfftn(spectrum, self._padded, workers=2)
        return whole[tuple(slice(t // 2, t // 2 + n) for t, n in zip(template, self._shape, strict=True))]


def find_peak(correlation: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the index (z, y, x) of the largest value, between voxels by a parabola along each axis, and the value."""
    top = np.unravel_index(int(correlation.argmax()), correlation.shape)
    place = np.array(top, float)
    for axis in range(3):
        if 0 < top[axis] < correlation.shape[axis] - 1:
            before, here, after = (
                float(correlation[tuple(k + step * (a == axis) for a, k in enumerate(top))]) for step in (-1, 0, 1)
            )
            bend = before - 2 * here + after
            place[axis] += 0.5 * (before - after) / bend if bend < 0 else 0.0
    return place, float(correlation[top])
