"""The differentiable CT simulator as a Keras layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from fedsim_tf.ct.effects import ScanEffects, effects_from_fields
from fedsim_tf.ct.geometry import cone_beam_geometry
from fedsim_tf.ct.scanner import ConeBeamScanner


class CTSimulator(tf.keras.layers.Layer):
    """A layer that scans attenuation and reconstructs it; the body goes on beyond the grid, see `ConeBeamScanner`.

    Args:
      shape: voxels (z, y, x) of the grid.
      spacing_mm: voxel size (x, y, z).
      n_views: views on the circle; by default matched to the grid.
      effects: imperfections of the scan, as an object or its fields; by default none.
      energy_kev: the energy that attenuation is given for; it matters for a polychromatic beam only.

    Raises:
      InputError: a shape, spacing or energy that makes no sense, or effects that do not exist.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        spacing_mm: tuple[float, float, float],
        *,
        n_views: int | None = None,
        effects: ScanEffects | Mapping[str, Any] | None = None,
        energy_kev: float = 70.0,
        **kwargs: Any,
    ):
        # A name of its own, as Keras would number simulators through the whole process; see `models.network`.
        super().__init__(**{"dtype": "float32", "trainable": False, "name": "ct_simulator", **kwargs})
        self._shape, self._spacing_mm, self._n_views = tuple(shape), tuple(spacing_mm), n_views
        self._effects = effects_from_fields(effects) if isinstance(effects, Mapping) else effects or ScanEffects()
        self._energy_kev = energy_kev
        geometry = cone_beam_geometry(shape, spacing_mm, n_views=n_views)
        self.scanner = ConeBeamScanner(geometry, effects=self._effects, energy_kev=energy_kev, goes_on=True)

    def call(self, mu_per_mm: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Return the reconstruction (B, z, y, x), in 1/mm, of attenuation (B, z, y, x) in 1/mm.

        Args:
          mu_per_mm: attenuation.
          seed: what photon noise is drawn from, see `ConeBeamScanner.measure`.
        """
        return self.scanner.reconstruct(self.scanner.measure(mu_per_mm, seed))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "shape": self._shape,
            "spacing_mm": self._spacing_mm,
            "n_views": self._n_views,
            "effects": dataclasses.asdict(self._effects),
            "energy_kev": self._energy_kev,
        }
