"""A fixed atlas of attenuation: what Ours-Fix-Mat renders in place of a learnt material map."""

from __future__ import annotations

import dataclasses
import functools

import tensorflow as tf

from fedsim_tf.ct.attenuation import BODY_BOUNDS_HU, contrast_mu_per_mm, hu_from_mu, tissue_mu_per_mm, water_mu_per_mm
from fedsim_tf.ct.simulator import CTSimulator
from fedsim_tf.errors import InputError
from fedsim_tf.regions import MYOCARDIUM, REGION_IDS

BODY_DENSEST = "bone"
_BLOOD_SHARE = 0.75  # of a heart's volume, for labels that say heart or not


@dataclasses.dataclass(frozen=True)
class FixedAtlas:
    """Attenuation per tissue at one effective energy.

    Attributes:
      energy_kev: the energy.
      iodine_mg_per_ml: contrast agent in the blood of heart and great vessels.
    """

    energy_kev: float = 70.0
    iodine_mg_per_ml: float = 10.0

    @functools.cached_property
    def blood_mu_per_mm(self) -> float:
        """Blood with its contrast agent."""
        return tissue_mu_per_mm("blood", self.energy_kev) + contrast_mu_per_mm(self.iodine_mg_per_ml, self.energy_kev)

    @functools.cached_property
    def heart_mu_per_mm(self) -> float:
        """A heart whose blood and muscle are not told apart."""
        muscle = tissue_mu_per_mm("muscle", self.energy_kev)
        return _BLOOD_SHARE * self.blood_mu_per_mm + (1.0 - _BLOOD_SHARE) * muscle

    def body(self, hu: tf.Tensor) -> tf.Tensor:
        """Attenuation in 1/mm of the tissues that CT values, of any shape, belong to."""
        hu = tf.convert_to_tensor(hu, tf.float32)
        mu = tf.fill(tf.shape(hu), tissue_mu_per_mm(BODY_DENSEST, self.energy_kev))
        for tissue, bound in reversed(BODY_BOUNDS_HU.items()):
            mu = tf.where(hu <= bound, tissue_mu_per_mm(tissue, self.energy_kev), mu)
        return mu

    def with_heart(self, body_mu_per_mm: tf.Tensor, occupancy: tf.Tensor) -> tf.Tensor:
        """A binary heart in a body, both (B, z, y, x); occupancy 0 to 1, by which voxels at the surface are mixed."""
        return body_mu_per_mm + occupancy * (self.heart_mu_per_mm - body_mu_per_mm)

    def with_regions(self, body_mu_per_mm: tf.Tensor, region_id: tf.Tensor) -> tf.Tensor:
        """The seven regions of a heart in a body, both (B, z, y, x); 0 leaves the body as it is.

        Raises:
          InputError: a region id that is not 0 to 7.
        """
        region_id = tf.cast(region_id, tf.int32)
        if tf.executing_eagerly() and not bool(tf.reduce_all((region_id >= 0) & (region_id <= REGION_IDS[-1]))):
            raise InputError("region_id", found=int(tf.reduce_max(region_id)), expected=f"0 to {REGION_IDS[-1]}")
        muscle = tissue_mu_per_mm("muscle", self.energy_kev)
        heart = tf.where(region_id == MYOCARDIUM, muscle, self.blood_mu_per_mm)
        return tf.where(region_id > 0, heart, body_mu_per_mm)


def render(
    mu_per_mm: tf.Tensor, simulator: CTSimulator, energy_kev: float, *, seed: tf.Tensor | None = None
) -> tf.Tensor:
    """The CT values in HU (B, z, y, x) that a simulated scan of attenuation in 1/mm gives; `seed`: of its noise."""
    return hu_from_mu(simulator(mu_per_mm, seed=seed), water_mu_per_mm(energy_kev))
