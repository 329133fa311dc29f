"""Weights and filter of Feldkamp's reconstruction (Feldkamp, Davis and Kress, J. Opt. Soc. Am. A 1(6), 1984)."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from pyronn.ct_reconstruction.geometry.geometry_cone_3d import GeometryCone3D


def cosine_weights(geometry: GeometryCone3D) -> np.ndarray:
    """Cosine of the angle between each ray and the central one, (rows, columns)."""
    v, u = (
        (np.arange(n) - (n - 1) / 2) * s
        for n, s in zip(geometry.detector_shape, geometry.detector_spacing, strict=True)
    )
    distance = geometry.source_detector_distance
    return (distance / np.sqrt(distance**2 + u[None, :] ** 2 + v[:, None] ** 2)).astype(np.float32)


def ramp_response(n_columns: int, pixel_mm: float, *, hann: bool = False) -> np.ndarray:
    """Frequency response of the band-limited ramp filter for rows padded with zeros.

    The ramp is sampled in space (Kak and Slaney, Principles of Computerized Tomographic Imaging, eq. 3.61): sampled in
    frequency it would lose the constant part of the image. Padding to at least twice the row keeps the convolution
    from wrapping around.

    Returns:
      (n / 2 + 1,) for rows padded to n, a power of two; in 1/mm^2, so that it undoes a projection in mm when the
      back-projection multiplies with the pixel size.
    """
    n = 2 ** int(np.ceil(np.log2(2 * n_columns)))
    k = np.minimum(np.arange(n), n - np.arange(n)).astype(np.float64)
    kernel = np.zeros(n)
    kernel[0] = 1 / (4 * pixel_mm**2)
    odd = k % 2 == 1
    kernel[odd] = -1 / (np.pi * k[odd] * pixel_mm) ** 2
    response = np.real(np.fft.rfft(kernel))
    if hann:
        response *= 0.5 * (1 + np.cos(2 * np.pi * np.fft.rfftfreq(n)))
    return response.astype(np.float32)


def filter_rows(sinogram: tf.Tensor, response: np.ndarray) -> tf.Tensor:
    """Convolves each row (..., columns) with the filter of `ramp_response`."""
    n_columns = int(sinogram.shape[-1])
    n = 2 * (len(response) - 1)
    spectrum = tf.signal.rfft(sinogram, fft_length=[n])
    return tf.signal.irfft(spectrum * tf.cast(response, spectrum.dtype), fft_length=[n])[..., :n_columns]
