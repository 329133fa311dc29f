"""A fixed atlas of attenuation, which Ours-Fix-Mat renders in place of a learnt material map."""

from __future__ import annotations

import dataclasses
import functools

import tensorflow as tf

from fedsim_tf.ct.attenuation import (
    BODY_BOUNDS_HU,
    BODY_DENSEST,
    contrast_mu_per_mm,
    hu_from_mu,
    tissue_mu_per_mm,
    water_mu_per_mm,
)
from fedsim_tf.ct.simulator import CTSimulator
from fedsim_tf.regions import AORTA, LA, LV, MYOCARDIUM, PULMONARY_ARTERY, RA, REGION_IDS, RV

_BLOOD_SHARE = 0.75  # share of a heart's volume that is blood, for labels that say heart or not
# Contrast agent by region, as a share of that in the blood of the left heart: coronary CT angiograms are timed so that
# the left heart is brightest, while the right heart is washed out and the myocardium has only begun to take it up.
_RIGHT, _TAKEN_UP = 0.6, 0.2
_CONTRAST = {LV: 1.0, RV: _RIGHT, LA: 1.0, RA: _RIGHT, MYOCARDIUM: _TAKEN_UP, AORTA: 1.0, PULMONARY_ARTERY: _RIGHT}


@dataclasses.dataclass(frozen=True)
class FixedAtlas:
    """The attenuation of each tissue at one effective energy.

    Attributes:
      energy_kev: the energy.
      iodine_mg_per_ml: contrast agent in the blood of heart and great vessels; where regions are told apart, in that of
        the left heart and the aorta.
    """

    energy_kev: float = 70.0
    iodine_mg_per_ml: float = 10.0

    @functools.cached_property
    def blood_mu_per_mm(self) -> float:
        """The attenuation of blood with its contrast agent."""
        return tissue_mu_per_mm("blood", self.energy_kev) + contrast_mu_per_mm(self.iodine_mg_per_ml, self.energy_kev)

    @functools.cached_property
    def heart_mu_per_mm(self) -> float:
        """The attenuation of a heart whose blood and muscle are not told apart."""
        muscle = tissue_mu_per_mm("muscle", self.energy_kev)
        return _BLOOD_SHARE * self.blood_mu_per_mm + (1.0 - _BLOOD_SHARE) * muscle

    @functools.cached_property
    def region_mu_per_mm(self) -> tuple[float, ...]:
        """The attenuation of each region, in the order of their ids: blood by phase, and muscle."""
        return tuple(self._region_mu_per_mm(region) for region in REGION_IDS)

    def _region_mu_per_mm(self, region: int) -> float:
        tissue = "muscle" if region == MYOCARDIUM else "blood"
        iodine = contrast_mu_per_mm(_CONTRAST[region] * self.iodine_mg_per_ml, self.energy_kev)
        return tissue_mu_per_mm(tissue, self.energy_kev) + iodine

    def body(self, hu: tf.Tensor) -> tf.Tensor:
        """Return the attenuation in 1/mm of the tissues that CT values belong to, an array of any shape."""
        hu = tf.convert_to_tensor(hu, tf.float32)
        mu = tf.fill(tf.shape(hu), tissue_mu_per_mm(BODY_DENSEST, self.energy_kev))
        for tissue, bound in reversed(BODY_BOUNDS_HU.items()):
            mu = tf.where(hu <= bound, tissue_mu_per_mm(tissue, self.energy_kev), mu)
        return mu

    def add_heart(self, body_mu_per_mm: tf.Tensor, occupancy: tf.Tensor) -> tf.Tensor:
        """Return a body with a heart in it, (B, z, y, x) in 1/mm.

        Args:
          body_mu_per_mm: the body (B, z, y, x).
          occupancy: the heart's share of each voxel (B, z, y, x), or each region's (B, z, y, x, 7), 0 to 1, by which
            voxels at its surface are mixed.
        """
        if len(occupancy.shape) == 5:
            by_region = tf.linalg.matvec(occupancy, tf.constant(self.region_mu_per_mm, occupancy.dtype))
            return body_mu_per_mm * (1.0 - tf.reduce_sum(occupancy, axis=-1)) + by_region
        return body_mu_per_mm + occupancy * (self.heart_mu_per_mm - body_mu_per_mm)


def render(
    mu_per_mm: tf.Tensor, simulator: CTSimulator, energy_kev: float, *, seed: tf.Tensor | None = None
) -> tf.Tensor:
    """Return the CT values in HU (B, z, y, x) that a simulated scan of attenuation in 1/mm gives.

    Args:
      mu_per_mm: attenuation (B, z, y, x).
      simulator: what scans it.
      energy_kev: the energy that attenuation is given for.
      seed: what photon noise is drawn from, see `ConeBeamScanner.measure`.
    """
    return hu_from_mu(simulator(mu_per_mm, seed=seed), water_mu_per_mm(energy_kev))
