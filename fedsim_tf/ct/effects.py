"""The imperfections that a scanner adds to ideal line integrals: focal spot, photon noise, a spectrum of energies."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from fedsim_tf.ct.spectrum import BeamHardening
from fedsim_tf.errors import InputError

_FEWEST_PHOTONS = 0.5  # a pixel that counted nothing is read as half a photon


@dataclasses.dataclass(frozen=True)
class ScanEffects:
    """A scanner's imperfections; the default is an ideal scanner.

    Attributes:
      photons: the dose, as photons in a detector pixel without an object in the beam; 0 for no noise.
      focal_spot_mm: width of the X-ray source.
      kernel_mm: blur that the reconstruction kernel adds in the slices, as standard deviation on the rotation axis.
      tube_kv: tube voltage of a polychromatic beam; 0 for a beam of one energy.

    Raises:
      InputError: a negative or infinite value.
    """

    photons: float = 0.0
    focal_spot_mm: float = 0.0
    kernel_mm: float = 0.0
    tube_kv: float = 0.0

    def __post_init__(self) -> None:
        for name in ("photons", "focal_spot_mm", "kernel_mm", "tube_kv"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise InputError(name, found=value, expected="0 or more")

    def hardening(self, energy_kev: float) -> BeamHardening | None:
        """Return how the beam hardens, at the energy that attenuation is given for; None for a beam of one energy."""
        return BeamHardening(self.tube_kv, energy_kev) if self.tube_kv else None


def effects_from_fields(fields: Mapping[str, Any]) -> ScanEffects:
    """Return the effects with these fields.

    Raises:
      InputError: a field that effects do not have, or a value that is refused.
    """
    known = [field.name for field in dataclasses.fields(ScanEffects)]
    unknown = [name for name in fields if name not in known]
    if unknown:
        raise InputError("effects", found=", ".join(unknown), expected=f"fields among {', '.join(known)}")
    return ScanEffects(**fields)


def photon_noise(line_integrals: tf.Tensor, photons: float, seed: tf.Tensor) -> tf.Tensor:
    """Return line integrals of the same shape as counted photons measure them: the logarithm of Poisson counts.

    The gradient is that of noise-free line integrals.

    Args:
      line_integrals: ideal ones.
      photons: how many reach each pixel without an object in the beam.
      seed: (2,) integers; equal seeds give equal noise.
    """
    expected = photons * tf.exp(-line_integrals)
    counts = tf.random.stateless_poisson(tf.shape(expected), seed, expected, dtype=tf.float32)
    measured = -tf.math.log(tf.maximum(counts, _FEWEST_PHOTONS) / photons)
    return line_integrals + tf.stop_gradient(measured - line_integrals)


def spot_blur(line_integrals: tf.Tensor, width_mm: float, pixel_mm: tuple[float, float]) -> tf.Tensor:
    """Return line integrals with the penumbra of a focal spot.

    Intensities, not line integrals, are averaged over the spot's image on the detector.

    Args:
      line_integrals: (B, views, rows, columns).
      width_mm: width of the spot's image on the detector.
      pixel_mm: size of a detector pixel along rows and columns.
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
    """Return a box of any width in pixels as an odd number of taps that sum to one."""
    reach = int(np.ceil((width - 1) / 2)) if width > 1 else 0
    edges = np.arange(-reach, reach + 2) - 0.5
    overlap = np.diff(np.clip(edges, -width / 2, width / 2)) if width > 0 else np.ones(1)
    return overlap / overlap.sum()
