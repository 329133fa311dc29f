"""Polychromatic X-rays: the spectrum of a tube, and how it changes line integrals."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from fedsim_tf.ct.attenuation import elemental_attenuation, mu_from_hu, tissue_mu_per_mm, water_mu_per_mm
from fedsim_tf.errors import InputError

_FILTER_MM = 8.0  # aluminium of the inherent filter, the flat one and the middle of a bow-tie filter
_ALUMINIUM_DENSITY = 2.7  # g/cm^3; xraydb's own table of materials is not safe to read first from several threads
_LOWEST_KEV = 20.0
_STEP_KEV = 10.0
_LONGEST_MM = 500.0  # path through water up to which the correction is fitted
_DEGREE = 6
_SOFT_HU, _DENSE_HU = 150.0, 700.0  # voxels below are soft tissue, voxels above are bone


def tube_spectrum(tube_kv: float) -> tuple[np.ndarray, np.ndarray]:
    """Return energies in keV and their shares of the detected signal, which sum to 1, both (n,).

    The spectrum follows Kramers' law (Philos. Mag. 46, 1923), filtered by aluminium; the detector integrates energy.

    Raises:
      InputError: a tube voltage outside 40 to 150 kV.
    """
    if not 40.0 <= tube_kv <= 150.0:
        raise InputError("tube_kv", found=tube_kv, expected="40 to 150")
    energies = np.arange(_LOWEST_KEV + _STEP_KEV / 2, tube_kv, _STEP_KEV)
    photons = (tube_kv - energies) / energies
    aluminium = np.array([_ALUMINIUM_DENSITY * elemental_attenuation("Al", float(e)) for e in energies])  # 1/cm
    signal = energies * photons * np.exp(-aluminium * _FILTER_MM / 10.0)
    return energies, signal / signal.sum()


class BeamHardening:
    """A polychromatic beam whose line integrals are corrected for water, as scanners do.

    Voxels count as water or bone by their attenuation, and as a mixture in between (Joseph and Spital, J. Comput.
    Assist. Tomogr. 2, 1978). The streaks and shadows of bone remain after the correction.

    Args:
      tube_kv: tube voltage.
      energy_kev: the energy that attenuation is given for.

    Raises:
      InputError: a tube voltage outside 40 to 150 kV, or an energy outside 1 to 800 keV.
    """

    def __init__(self, tube_kv: float, energy_kev: float):
        energies, self._signal = tube_spectrum(tube_kv)
        reference = water_mu_per_mm(energy_kev)
        self._ratios = [
            np.array([tissue_mu_per_mm(tissue, float(e)) for e in energies]) / tissue_mu_per_mm(tissue, energy_kev)
            for tissue in ("water", "bone")
        ]
        self._soft, self._dense = mu_from_hu(_SOFT_HU, reference), mu_from_hu(_DENSE_HU, reference)
        self._polynomial = self._fit_water_correction(reference * _LONGEST_MM)

    def split(self, mu_per_mm: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the parts of attenuation (B, z, y, x) that count as water and as bone; they sum to it."""
        bone = mu_per_mm * tf.clip_by_value((mu_per_mm - self._soft) / (self._dense - self._soft), 0.0, 1.0)
        return mu_per_mm - bone, bone

    def measure(self, water: tf.Tensor, bone: tf.Tensor) -> tf.Tensor:
        """Return the corrected line integrals for line integrals through water and through bone."""
        return self._correct(self._harden(water, bone))

    def _harden(self, water: tf.Tensor, bone: tf.Tensor) -> tf.Tensor:
        each = zip(self._signal, *self._ratios, strict=True)
        transmitted = tf.add_n([share * tf.exp(-(water * w + bone * b)) for share, w, b in each])
        return -tf.math.log(transmitted)

    def _correct(self, measured: tf.Tensor) -> tf.Tensor:
        result = tf.zeros_like(measured)
        for coefficient in self._polynomial:
            result = (result + coefficient) * measured
        return result

    def _fit_water_correction(self, longest: float) -> list[float]:
        """Return the coefficients of a polynomial that takes measured line integrals of water to the true ones.

        The highest power comes first, and there is no constant.
        """
        true = np.linspace(0.0, longest, 200)[1:]
        transmitted = np.exp(-np.outer(true, self._ratios[0])) @ self._signal
        measured = -np.log(transmitted)
        powers = measured[:, None] ** np.arange(_DEGREE, 0, -1)
        weights = 1.0 / true[:, None]  # the error that matters is relative
        return [float(c) for c in np.linalg.lstsq(powers * weights, np.ones(len(true)), rcond=None)[0]]
