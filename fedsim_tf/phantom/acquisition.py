"""The scan of a phantom subject: the contrast agent in its blood, and what the scanner makes of its body."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from scipy import ndimage

from fedsim_tf.ct import attenuation
from fedsim_tf.ct.effects import ScanEffects
from fedsim_tf.ct.geometry import cone_beam_geometry
from fedsim_tf.ct.scanner import ConeBeamScanner
from fedsim_tf.phantom.sites import SiteScanner
from fedsim_tf.regions import AORTA, LA, LV, MYOCARDIUM, PULMONARY_ARTERY, RA, RV

_ENERGY_KEV = 70.0  # CT values are taken to mean attenuation at this energy
_VIEWS, _PIXELS_PER_VOXEL = 120, 1.0  # enough for noise and shadows, which have no sharp edges
_RANGE_HU = (-1024, 3071)  # what 12 bits hold


def draw_contrast(scanner: SiteScanner, rng: np.random.Generator) -> dict:
    """Return the CT values (HU) of one patient's blood and myocardium, by region number and by content of a tube."""
    left = scanner.left_hu * np.exp(scanner.left_sd * rng.standard_normal())
    right = max(scanner.muscle_hu, scanner.right_hu + scanner.right_sd_hu * rng.standard_normal())
    lungs = 0.5 * (left + right)
    by_region = {LV: left, LA: 1.02 * left, AORTA: 1.04 * left, RV: right, RA: 0.95 * right}
    by_region |= {PULMONARY_ARTERY: lungs, MYOCARDIUM: scanner.muscle_hu * np.exp(0.06 * rng.standard_normal())}
    tubes = {"aorta": 1.04 * left, "pulmonary": lungs, "pulmonary_vein": 1.02 * left}
    return by_region | tubes | {"vein": 1.15 * right, "cava": 0.5 * right + 60.0}


def acquire(
    scanner: SiteScanner,
    values_hu: np.ndarray,
    *,
    spacing_mm: tuple[float, float, float],
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the scan of a body: blurred, noisy, with the shadows of its bones, and shifted.

    Clinical scanners turn in a helix and make no cone-beam artefacts. So the body itself is kept, and only what the
    scanner's imperfections add to its line integrals is reconstructed and laid on top.

    Args:
      scanner: the site's scanner.
      values_hu: (z, y, x) body in HU.
      spacing_mm: voxel size along (x, y, z).
      rng: generator of the noise.

    Returns:
      (z, y, x) int16 in HU.
    """
    sigma = np.array([scanner.kernel_z_mm, scanner.kernel_mm, scanner.kernel_mm]) / np.array(spacing_mm[::-1])
    blurred = ndimage.gaussian_filter(values_hu, sigma, truncate=3.0)
    scan = blurred + _imperfections(scanner, values_hu, spacing_mm=spacing_mm, rng=rng) + scanner.shift_hu
    return np.clip(np.rint(scan), *_RANGE_HU).astype(np.int16)


def _imperfections(
    scanner: SiteScanner,
    values_hu: np.ndarray,
    *,
    spacing_mm: tuple[float, float, float],
    rng: np.random.Generator,
) -> np.ndarray:
    """Return noise, shadows and penumbra (z, y, x) in HU, made in the sinogram of the body."""
    effects = ScanEffects(
        photons=scanner.photons,
        focal_spot_mm=scanner.focal_spot_mm,
        kernel_mm=scanner.kernel_mm,
        tube_kv=scanner.tube_kv,
    )
    geometry = cone_beam_geometry(
        values_hu.shape,  # type: ignore[arg-type]
        spacing_mm,
        n_views=_VIEWS,
        pixels_per_voxel=_PIXELS_PER_VOXEL,
    )
    beam = ConeBeamScanner(geometry, effects=effects, energy_kev=_ENERGY_KEV)
    water = attenuation.water_mu_per_mm(_ENERGY_KEV)
    mu = tf.constant(np.maximum(attenuation.mu_from_hu(values_hu, water), 0.0)[None], tf.float32)
    seed = tf.constant(rng.integers(0, 2**31, 2), tf.int32)
    return beam.reconstruct(beam.departure(mu, seed))[0].numpy() * (1000.0 / water)
