"""A cone-beam scanner: projection of attenuation volumes and Feldkamp reconstruction of sinograms."""

from __future__ import annotations

import tensorflow as tf
from pyronn.ct_reconstruction.geometry.geometry_cone_3d import GeometryCone3D
from pyronn.ct_reconstruction.layers.backprojection_3d import cone_backprojection3d
from pyronn.ct_reconstruction.layers.projection_3d import cone_projection3d

from fedsim_tf.ct.fdk import cosine_weights, filter_rows, ramp_response
from fedsim_tf.errors import InputError


class ConeBeamScanner:
    """Both directions of a cone-beam scan, differentiable with exact adjoints.

    Args:
      geometry: pyronn's; see `cone_beam_geometry` for one matched to a grid.
      hann: smooths the ramp filter.

    Attributes:
      domain_shape: (z, y, x) of volumes; range_shape: (views, rows, columns) of sinograms.
    """

    def __init__(self, geometry: GeometryCone3D, *, hann: bool = False):
        self.geometry = geometry
        self.domain_shape = tuple(int(n) for n in geometry.volume_shape)
        self.range_shape = tuple(int(n) for n in geometry.sinogram_shape)
        self._cosines = cosine_weights(geometry)
        self._response = ramp_response(self.range_shape[2], float(geometry.detector_spacing[1]), hann=hann)

    def project(self, mu_per_mm: tf.Tensor) -> tf.Tensor:
        """Line integrals (B, views, rows, columns) of attenuation (B, z, y, x) in 1/mm; no unit."""
        return _batched(cone_projection3d, self._checked("mu_per_mm", mu_per_mm, self.domain_shape), self.geometry)

    def reconstruct(self, sinogram: tf.Tensor) -> tf.Tensor:
        """Attenuation (B, z, y, x) in 1/mm from line integrals (B, views, rows, columns)."""
        sinogram = self._checked("sinogram", sinogram, self.range_shape)
        filtered = filter_rows(sinogram * self._cosines, self._response)
        return _batched(cone_backprojection3d, filtered, self.geometry)

    @staticmethod
    def _checked(name: str, values: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
        values = tf.convert_to_tensor(values, tf.float32)
        if values.shape.rank != 4 or tuple(values.shape[1:]) != shape:
            raise InputError(name, found=f"shape {values.shape}", expected=f"(batch, {', '.join(map(str, shape))})")
        return values


def _batched(operator, values: tf.Tensor, geometry: GeometryCone3D) -> tf.Tensor:
    """pyronn copies the geometry for each of a batch that it must know: where it does not, one at a time."""
    if values.shape[0] is not None:
        return operator(values, geometry)
    return tf.map_fn(lambda one: operator(one[None], geometry)[0], values)
