"""Weights and filter of Feldkamp's reconstruction (Feldkamp, Davis and Kress, J. Opt. Soc. Am. A 1(6), 1984)."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from scipy import linalg

from fedsim_tf.ct.operators import GeometryCone3D


def cosine_weights(geometry: GeometryCone3D) -> np.ndarray:
    """Return the cosine of the angle between each ray and the central one, (rows, columns)."""
    v, u = (
        (np.arange(n) - (n - 1) / 2) * s
        for n, s in zip(geometry.detector_shape, geometry.detector_spacing, strict=True)
    )
    distance = geometry.source_detector_distance
    return (distance / np.sqrt(distance**2 + u[None, :] ** 2 + v[:, None] ** 2)).astype(np.float32)


def ramp_kernel(n_columns: int, pixel_mm: float, *, blur_mm: float = 0.0) -> np.ndarray:
    """Return the taps of the band-limited ramp filter for distances of 0 to n - 1 pixels.

    The ramp is sampled in space (Kak and Slaney, Principles of Computerized Tomographic Imaging, eq. 3.61). Sampled in
    frequency, it would lose the constant part of the image.

    Args:
      n_columns: detector pixels n in a row.
      pixel_mm: width of a detector pixel.
      blur_mm: standard deviation on the detector of a Gaussian that the kernel is smoothed with.

    Returns:
      (n,) float64 in 1/mm^2. The filter undoes a projection in mm when the back-projection multiplies with the pixel
      size.
    """
    n = 2 ** int(np.ceil(np.log2(4 * n_columns)))  # long enough for the blur not to wrap around
    k = np.minimum(np.arange(n), n - np.arange(n)).astype(np.float64)
    taps = np.zeros(n)
    taps[0] = 1 / (4 * pixel_mm**2)
    odd = k % 2 == 1
    taps[odd] = -1 / (np.pi * k[odd] * pixel_mm) ** 2
    frequency = np.fft.rfftfreq(n)  # cycles per pixel
    window = np.exp(-2 * (np.pi * frequency * blur_mm / pixel_mm) ** 2)
    return np.fft.irfft(np.fft.rfft(taps) * window, n)[:n_columns]


def filter_matrix(kernel: np.ndarray) -> np.ndarray:
    """Return the filter of `ramp_kernel` as a symmetric matrix (columns, columns), float32.

    A product with it convolves zero-padded rows without any wrapping around. For detectors as wide as those used here
    it is much faster than Fourier transforms.
    """
    return linalg.toeplitz(kernel).astype(np.float32)


def filter_rows(sinogram: tf.Tensor, matrix: np.ndarray) -> tf.Tensor:
    """Return a sinogram (..., columns) with each row convolved with the filter of `filter_matrix`."""
    rows = tf.reshape(sinogram, (-1, matrix.shape[0]))  # one large product
    return tf.reshape(tf.matmul(rows, matrix), tf.shape(sinogram))
