"""What a scanner does to ideal line integrals: focal spot, photon noise, a spectrum of energies."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from fedsim_tf.ct.spectrum import BeamHardening
from fedsim_tf.errors import InputError

_FEWEST_PHOTONS = 0.5  # a detector that counted nothing is read as half a photon


@dataclasses.dataclass(frozen=True)
class ScanEffects:
    """A scanner's imperfections; the default is an ideal scanner.

    Attributes:
      photons: per detector pixel without an object in the beam, the dose; 0 for no noise.
      focal_spot_mm: width of the X-ray source.
      kernel_mm: standard deviation on the rotation axis of the blur that the reconstruction kernel adds in the slices.
      tube_kv: tube voltage of a polychromatic beam; 0 for a beam of one energy.
      hann: damps high frequencies of the reconstruction with a Hann window.
    """

    photons: float = 0.0
    focal_spot_mm: float = 0.0
    kernel_mm: float = 0.0
    tube_kv: float = 0.0
    hann: bool = False

    def __post_init__(self) -> None:
        for name in ("photons", "focal_spot_mm", "kernel_mm", "tube_kv"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise InputError(name, found=value, expected="0 or more")

    def hardening(self, energy_kev: float) -> BeamHardening | None:
        """How the beam hardens, seen at the energy that attenuation is given for."""
        return BeamHardening(self.tube_kv, energy_kev) if self.tube_kv else None


def photon_noise(line_integrals: tf.Tensor, photons: float, seed: tf.Tensor) -> tf.Tensor:
    """Line integrals as a number of photons for each pixel measures them: Poisson counts, then their logarithm.

    The gradient is that of noise-free line integrals.

    Args:
      photons: without an object; seed: (2,) integers, the same noise for the same seed.
    """
    expected = photons * tf.exp(-line_integrals)
    counts = tf.random.stateless_poisson(tf.shape(expected), seed, expected, dtype=tf.float32)
    measured = -tf.math.log(tf.maximum(counts, _FEWEST_PHOTONS) / photons)
    return line_integrals + tf.stop_gradient(measured - line_integrals)


def spot_blur(line_integrals: tf.Tensor, width_mm: float, pixel_mm: tuple[float, float]) -> tf.Tensor:
    """The penumbra of a focal spot: intensities, not line integrals, are averaged over its image on the detector.

    Args:
      line_integrals: (B, views, rows, columns).
      width_mm: of the spot's image on the detector; pixel_mm: (rows, columns).
    """
    _, views, rows, columns = line_integrals.shape
    intensity = tf.reshape(tf.exp(-line_integrals), (-1, rows, columns, 1))
    for axis, pixel in enumerate(pixel_mm):
        taps = box_taps(width_mm / pixel)
        reach = len(taps) // 2
        padded = tf.pad(intensity, [[0, 0], *([reach * (axis == k)] * 2 for k in (0, 1)), [0, 0]], mode="SYMMETRIC")
        kernel = tf.reshape(tf.constant(taps, tf.float32), (-1, 1, 1, 1) if axis == 0 else (1, -1, 1, 1))
        intensity = tf.nn.conv2d(padded, kernel, strides=1, padding="VALID")
    return tf.reshape(-tf.math.log(intensity), (-1, views, rows, columns))


def box_taps(width: float) -> np.ndarray:
    """A box of any width in pixels as an odd number of taps that sum to one."""
    reach = int(np.ceil((width - 1) / 2)) if width > 1 else 0
    edges = np.arange(-reach, reach + 2) - 0.5
    overlap = np.diff(np.clip(edges, -width / 2, width / 2)) if width > 0 else np.ones(1)
    return overlap / overlap.sum()
