"""A site's scanner: when it scans after the contrast agent, how it blurs, how noisy it is, what it shows."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf
from scipy import ndimage

from fedsim_tf.ct import attenuation
from fedsim_tf.ct.effects import ScanEffects
from fedsim_tf.ct.geometry import cone_beam_geometry
from fedsim_tf.ct.scanner import ConeBeamScanner
from fedsim_tf.regions import AORTA, LA, LV, MYOCARDIUM, PULMONARY_ARTERY, RA, RV

_ENERGY_KEV = 70.0  # that CT values are taken to mean attenuation at
_VIEWS, _PIXELS_PER_VOXEL = 120, 1.0  # of what is added to the body: noise and shadows, no sharp edges


@dataclasses.dataclass(frozen=True)
class SiteScanner:
    """What all of a site's scans have in common; lengths in mm of an adult, CT values in HU.

    Attributes:
      left_hu, right_hu: blood of the left and the right heart; left_sd: relative spread of the left one over patients;
        right_sd_hu: spread of the right one.
      muscle_hu: myocardium.
      kernel_mm: standard deviation of the blur in the slices; kernel_z_mm: across.
      photons: per detector pixel without a patient, the dose; focal_spot_mm: width of the X-ray source.
      tube_kv: tube voltage.
      shift_hu: calibration error.
      width_mm: field of view in the slices; depth_mm: across. They shrink with the patient.
      flipped: slices stored from left to right and back to front (RAS axes) instead of LPS.
    """

    left_hu: float
    left_sd: float
    right_hu: float
    right_sd_hu: float
    muscle_hu: float
    kernel_mm: float
    kernel_z_mm: float
    photons: float
    focal_spot_mm: float
    tube_kv: float
    shift_hu: float
    width_mm: float
    depth_mm: float
    flipped: bool = False

    def contrast(self, rng: np.random.Generator) -> dict:
        """CT values of one scan, by region number and by content of tubes."""
        left = self.left_hu * np.exp(self.left_sd * rng.standard_normal())
        right = max(self.muscle_hu, self.right_hu + self.right_sd_hu * rng.standard_normal())
        lungs = 0.5 * (left + right)
        by_region = {LV: left, LA: 1.02 * left, AORTA: 1.04 * left, RV: right, RA: 0.95 * right}
        by_region |= {PULMONARY_ARTERY: lungs, MYOCARDIUM: self.muscle_hu * np.exp(0.06 * rng.standard_normal())}
        tubes = {"aorta": 1.04 * left, "pulmonary": lungs, "pulmonary_vein": 1.02 * left}
        return by_region | tubes | {"vein": 1.15 * right, "cava": 0.5 * right + 60.0}

    def acquire(
        self, values_hu: np.ndarray, spacing_mm: tuple[float, float, float], rng: np.random.Generator
    ) -> np.ndarray:
        """The scan of a body: blurred, noisy, with the shadows of its bones, shifted, int16 HU (z, y, x).

        Clinical scanners turn in a helix and know no cone-beam artefacts. So the body itself is kept, and only what the
        scanner's imperfections add to its line integrals is reconstructed on top.
        """
        sigma = np.array([self.kernel_z_mm, self.kernel_mm, self.kernel_mm]) / np.array(spacing_mm[::-1])
        blurred = ndimage.gaussian_filter(values_hu, sigma, truncate=3.0)
        scan = blurred + self._imperfections(values_hu, spacing_mm, rng) + self.shift_hu
        return np.clip(np.rint(scan), -1024, 3071).astype(np.int16)

    def _imperfections(
        self, values_hu: np.ndarray, spacing_mm: tuple[float, float, float], rng: np.random.Generator
    ) -> np.ndarray:
        """Noise, shadows and penumbra in HU, through sinograms of the body."""
        effects = ScanEffects(self.photons, self.focal_spot_mm, self.kernel_mm, self.tube_kv)
        geometry = cone_beam_geometry(
            values_hu.shape,  # type: ignore[arg-type]
            spacing_mm,
            n_views=_VIEWS,
            pixels_per_voxel=_PIXELS_PER_VOXEL,
        )
        scanner = ConeBeamScanner(geometry, effects=effects, energy_kev=_ENERGY_KEV)
        water = attenuation.water_mu_per_mm(_ENERGY_KEV)
        mu = tf.constant(np.maximum(attenuation.mu_from_hu(values_hu, water), 0.0)[None], tf.float32)
        seed = tf.constant(rng.integers(0, 2**31, 2), tf.int32)
        return scanner.reconstruct(scanner.departure(mu, seed))[0].numpy() * (1000.0 / water)
