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

_BLOOD_SHARE = 0.75  # share of a heart's volume that is blood, for labels that say heart or not


@dataclasses.dataclass(frozen=True)
class FixedAtlas:
    """The attenuation of each tissue at one effective energy.

    Attributes:
      energy_kev: the energy.
      iodine_mg_per_ml: contrast agent in the blood of heart and great vessels.
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
          occupancy: the heart's share of each voxel (B, z, y, x), 0 to 1, by which voxels at its surface are mixed.
        """
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
