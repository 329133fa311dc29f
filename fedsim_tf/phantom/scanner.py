"""A site's scanner: when it scans after the contrast agent, how it blurs, how noisy it is, what it shows."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from fedsim_tf.phantom.hearts import AORTA, LA, LV, MYOCARDIUM, PULMONARY_ARTERY, RA, RV


@dataclasses.dataclass(frozen=True)
class Scanner:
    """What all of a site's scans have in common; lengths in mm of an adult, CT values in HU.

    Attributes:
      left_hu, right_hu: blood of the left and the right heart; right_sd_hu: spread of the right one.
      muscle_hu: myocardium.
      kernel_mm: standard deviation of the blur in the slices; kernel_z_mm: across.
      noise_hu: standard deviation of the noise; grain_mm: its correlation length.
      shift_hu: calibration error.
      width_mm: field of view in the slices; depth_mm: across. They shrink with the patient.
      flipped: slices stored from left to right and back to front (RAS axes) instead of LPS.
    """

    left_hu: float
    right_hu: float
    right_sd_hu: float
    muscle_hu: float
    kernel_mm: float
    kernel_z_mm: float
    noise_hu: float
    grain_mm: float
    shift_hu: float
    width_mm: float
    depth_mm: float
    flipped: bool = False

    def contrast(self, rng: np.random.Generator) -> dict:
        """CT values of one scan, by region number and by content of tubes."""
        left = self.left_hu * np.exp(0.12 * rng.standard_normal())
        right = max(self.muscle_hu + 20.0, self.right_hu + self.right_sd_hu * rng.standard_normal())
        lungs = 0.5 * (left + right)
        by_region = {LV: left, LA: 1.02 * left, AORTA: 1.04 * left, RV: right, RA: 0.95 * right}
        by_region |= {PULMONARY_ARTERY: lungs, MYOCARDIUM: self.muscle_hu * np.exp(0.06 * rng.standard_normal())}
        tubes = {"aorta": 1.04 * left, "pulmonary": lungs, "pulmonary_vein": 1.02 * left}
        return by_region | tubes | {"vein": 1.15 * right, "cava": 0.5 * right + 60.0}

    def acquire(
        self, values_hu: np.ndarray, spacing_mm: tuple[float, float, float], rng: np.random.Generator
    ) -> np.ndarray:
        """The scan of a body: blurred, noisy, shifted, int16 HU (z, y, x)."""
        sigma = np.array([self.kernel_z_mm, self.kernel_mm, self.kernel_mm]) / np.array(spacing_mm[::-1])
        blurred = ndimage.gaussian_filter(values_hu, sigma, truncate=3.0)
        scan = blurred + self.noise_hu * _grain(values_hu.shape, self.grain_mm / np.array(spacing_mm[::-1]), rng)
        return np.clip(np.rint(scan + self.shift_hu), -1024, 3071).astype(np.int16)


def _grain(shape: tuple[int, ...], sigma: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Correlated noise of unit deviation without its lowest frequencies, as filtered back-projection leaves it."""
    white = rng.standard_normal(shape, dtype=np.float32)
    fine = ndimage.gaussian_filter(white, sigma, truncate=3.0)
    grain = fine - ndimage.uniform_filter(fine, size=(1, 7, 7))
    return grain / grain.std()
