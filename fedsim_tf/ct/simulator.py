"""The differentiable CT simulator as a Keras layer."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fedsim_tf.ct.geometry import cone_beam_geometry
from fedsim_tf.ct.scanner import ConeBeamScanner


class CTSimulator(tf.keras.layers.Layer):
    """Attenuation (B, z, y, x) in 1/mm to its reconstruction after a cone-beam scan, in 1/mm.

    Args:
      shape: voxels (z, y, x) of the grid.
      spacing_mm: voxel size (x, y, z).
      n_views: views on the circle; by default matched to the grid.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        spacing_mm: tuple[float, float, float],
        *,
        n_views: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**{"dtype": "float32", "trainable": False, **kwargs})
        self._shape, self._spacing_mm, self._n_views = tuple(shape), tuple(spacing_mm), n_views
        self.scanner = ConeBeamScanner(cone_beam_geometry(shape, spacing_mm, n_views=n_views))

    def call(self, mu_per_mm: tf.Tensor) -> tf.Tensor:
        return self.scanner.reconstruct(self.scanner.project(mu_per_mm))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "shape": self._shape,
            "spacing_mm": self._spacing_mm,
            "n_views": self._n_views,
        }
