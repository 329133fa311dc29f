"""A cone-beam scanner: projection of attenuation volumes and Feldkamp reconstruction of sinograms."""

from __future__ import annotations

import warnings

import tensorflow as tf
from pyronn.ct_reconstruction.geometry.geometry_cone_3d import GeometryCone3D
from pyronn.ct_reconstruction.layers.backprojection_3d import cone_backprojection3d
from pyronn.ct_reconstruction.layers.projection_3d import cone_projection3d

import pyronn_layers
from fedsim_tf.ct.effects import ScanEffects, photon_noise, spot_blur
from fedsim_tf.ct.fdk import cosine_weights, filter_matrix, filter_rows, ramp_kernel
from fedsim_tf.ct.geometry import lengthened, slices_beyond
from fedsim_tf.errors import InputError

_LARGEST_SEED = 2**31 - 1


class ConeBeamScanner:
    """Both directions of a cone-beam scan, differentiable with exact adjoints.

    Args:
      geometry: pyronn's; see `cone_beam_geometry` for one matched to a grid.
      effects: imperfections of the scan; by default none.
      energy_kev: the energy that attenuation is given for; it matters for a polychromatic beam only.
      goes_on: whether the body goes on above and below the grid as its first and last slice are, as a patient does. A
        body that ends there is missed by rays that climb, and its ends come out too dark.

    Attributes:
      domain_shape: (z, y, x) of volumes; range_shape: (views, rows, columns) of sinograms.
    """

    def __init__(
        self,
        geometry: GeometryCone3D,
        *,
        effects: ScanEffects | None = None,
        energy_kev: float = 70.0,
        goes_on: bool = False,
    ):
        self.geometry = geometry
        self._beyond = slices_beyond(int(geometry.volume_shape[0])) if goes_on else 0
        self._body = lengthened(geometry, self._beyond)
        self.effects = ScanEffects() if effects is None else effects
        self.domain_shape = tuple(int(n) for n in geometry.volume_shape)
        self.range_shape = tuple(int(n) for n in geometry.sinogram_shape)
        self._magnification = geometry.source_detector_distance / geometry.source_isocenter_distance
        self._pixel_mm = (float(geometry.detector_spacing[0]), float(geometry.detector_spacing[1]))
        self._hardening = self.effects.hardening(energy_kev)
        self._cosines = cosine_weights(geometry)
        self._filter = filter_matrix(
            ramp_kernel(
                self.range_shape[2],
                self._pixel_mm[1],
                hann=self.effects.hann,
                blur_mm=self.effects.kernel_mm * self._magnification,
            )
        )

    def project(self, mu_per_mm: tf.Tensor) -> tf.Tensor:
        """Ideal line integrals (B, views, rows, columns) of attenuation (B, z, y, x) in 1/mm; no unit."""
        mu_per_mm = self._checked("mu_per_mm", mu_per_mm, self.domain_shape)
        if self._beyond:
            below, above = (tf.repeat(end, self._beyond, axis=1) for end in (mu_per_mm[:, :1], mu_per_mm[:, -1:]))
            mu_per_mm = tf.concat([below, mu_per_mm, above], axis=1)
        with warnings.catch_warnings():
            if self._beyond:  # what lies beyond the grid is not reconstructed, and need not be seen in every view
                warnings.filterwarnings("ignore", "the detector does not see the whole volume")
            if mu_per_mm.shape[0] is not None:
                return cone_projection3d(mu_per_mm, self._body)
            return pyronn_layers.cone_projection3d(mu_per_mm, self.range_shape, **_arguments(self._body))

    def measure(self, mu_per_mm: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Line integrals as this scanner measures them, shaped as those of `project`.

        Args:
          seed: (2,) integers, the same noise for the same seed; by default another one each time.
        """
        return self._with_effects(self._parts(mu_per_mm), seed)

    def departure(self, mu_per_mm: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """`measure` less `project`: what the scanner's imperfections add, for an image of another origin."""
        parts = self._parts(mu_per_mm)
        return self._with_effects(parts, seed) - tf.add_n(parts)

    def _parts(self, mu_per_mm: tf.Tensor) -> list[tf.Tensor]:
        """Ideal line integrals, where the beam is polychromatic those through water and through bone."""
        volumes = [mu_per_mm] if self._hardening is None else self._hardening.split(mu_per_mm)
        return [self.project(volume) for volume in volumes]

    def _with_effects(self, parts: list[tf.Tensor], seed: tf.Tensor | None) -> tf.Tensor:
        line_integrals = parts[0] if self._hardening is None else self._hardening.measure(*parts)
        if self.effects.focal_spot_mm:
            width_mm = self.effects.focal_spot_mm * (self._magnification - 1)
            line_integrals = spot_blur(line_integrals, width_mm, self._pixel_mm)
        if self.effects.photons:
            seed = tf.random.uniform((2,), maxval=_LARGEST_SEED, dtype=tf.int32) if seed is None else seed
            line_integrals = photon_noise(line_integrals, self.effects.photons, seed)
        return line_integrals

    def reconstruct(self, sinogram: tf.Tensor) -> tf.Tensor:
        """Attenuation (B, z, y, x) in 1/mm from line integrals (B, views, rows, columns)."""
        sinogram = self._checked("sinogram", sinogram, self.range_shape)
        filtered = tf.ensure_shape(filter_rows(sinogram * self._cosines, self._filter), sinogram.shape)
        if sinogram.shape[0] is not None:
            return cone_backprojection3d(filtered, self.geometry)
        return pyronn_layers.cone_backprojection3d(filtered, self.domain_shape, **_arguments(self.geometry))

    @staticmethod
    def _checked(name: str, values: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
        values = tf.convert_to_tensor(values, tf.float32)
        if values.shape.rank != 4 or tuple(values.shape[1:]) != shape:
            raise InputError(name, found=f"shape {values.shape}", expected=f"(batch, {', '.join(map(str, shape))})")
        return values


def _arguments(geometry: GeometryCone3D) -> dict:
    """The geometry once, for a batch of any size; pyronn's own functions must know the size."""
    names = ("volume_origin", "volume_spacing", "projection_matrices", "projection_multiplier")
    return {name: getattr(geometry, name) for name in names}
