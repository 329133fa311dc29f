"""A cone-beam scanner: projection of attenuation volumes and Feldkamp reconstruction of sinograms."""

from __future__ import annotations

import warnings

import tensorflow as tf

import pyronn_layers
from fedsim_tf.ct.attenuation import check_energy
from fedsim_tf.ct.effects import ScanEffects, photon_noise, spot_blur
from fedsim_tf.ct.fdk import cosine_weights, filter_matrix, filter_rows, ramp_kernel
from fedsim_tf.ct.geometry import lengthen, slices_beyond
from fedsim_tf.ct.operators import GeometryCone3D, cone_backprojection3d, cone_projection3d
from fedsim_tf.errors import InputError
from fedsim_tf.float32 import forbid_tf32


class ConeBeamScanner:
    """Both directions of a cone-beam scan, differentiable with exact adjoints.

    Args:
      geometry: pyronn's; see `cone_beam_geometry` for one that is matched to a grid.
      effects: imperfections of the scan; by default none.
      energy_kev: the energy that attenuation is given for; it matters for a polychromatic beam only.
      goes_on: whether the body goes on above and below the grid, as a patient does, with the grid's first and last
        slice. Rays that climb miss a body that ends there, and its ends come out too dark.

    Attributes:
      geometry: the geometry that it was made with.
      effects: the imperfections that it was made with.
      domain_shape: (z, y, x) of volumes.
      range_shape: (views, rows, columns) of sinograms.

    Raises:
      InputError: an energy outside 1 to 800 keV.
    """

    def __init__(
        self,
        geometry: GeometryCone3D,
        *,
        effects: ScanEffects | None = None,
        energy_kev: float = 70.0,
        goes_on: bool = False,
    ):
        check_energy(energy_kev)
        forbid_tf32()
        self.geometry = geometry
        self._beyond = slices_beyond(int(geometry.volume_shape[0])) if goes_on else 0
        self._body = lengthen(geometry, self._beyond)
        self.effects = ScanEffects() if effects is None else effects
        self.domain_shape = tuple(int(n) for n in geometry.volume_shape)
        self.range_shape = tuple(int(n) for n in geometry.sinogram_shape)
        self._magnification = geometry.source_detector_distance / geometry.source_isocenter_distance
        self._pixel_mm = (float(geometry.detector_spacing[0]), float(geometry.detector_spacing[1]))
        self._hardening = self.effects.hardening(energy_kev)
        self._cosines = cosine_weights(geometry)
        self._filter = filter_matrix(
            ramp_kernel(self.range_shape[2], self._pixel_mm[1], blur_mm=self.effects.kernel_mm * self._magnification)
        )

    def project(self, mu_per_mm: tf.Tensor) -> tf.Tensor:
        """Return ideal line integrals (B, views, rows, columns), without unit, of attenuation (B, z, y, x) in 1/mm."""
        mu_per_mm = self._check_shape("mu_per_mm", mu_per_mm, self.domain_shape)
        if self._beyond:
            below, above = (tf.repeat(end, self._beyond, axis=1) for end in (mu_per_mm[:, :1], mu_per_mm[:, -1:]))
            mu_per_mm = tf.concat([below, mu_per_mm, above], axis=1)
        with warnings.catch_warnings():
            if self._beyond:  # what lies beyond the grid is not reconstructed and need not be seen in every view
                warnings.filterwarnings("ignore", "the detector does not see the whole volume")
            if mu_per_mm.shape[0] is not None:
                return cone_projection3d(mu_per_mm, self._body)
            return pyronn_layers.cone_projection3d(mu_per_mm, self.range_shape, **_arguments(self._body))

    def measure(self, mu_per_mm: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Return line integrals as this scanner measures them, (B, views, rows, columns).

        Args:
          mu_per_mm: attenuation (B, z, y, x) in 1/mm.
          seed: what photon noise is drawn from, (2,) integers; needed where photons are counted.

        Raises:
          InputError: no seed where photons are counted.
        """
        return self._add_effects(self._parts(mu_per_mm), seed)

    def departure(self, mu_per_mm: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Return `measure` less `project`: what the scanner's imperfections add to an image of another origin."""
        parts = self._parts(mu_per_mm)
        return self._add_effects(parts, seed) - tf.add_n(parts)

    def _parts(self, mu_per_mm: tf.Tensor) -> list[tf.Tensor]:
        """Return ideal line integrals; for a polychromatic beam, those through water and those through bone."""
        volumes = [mu_per_mm] if self._hardening is None else self._hardening.split(mu_per_mm)
        return [self.project(volume) for volume in volumes]

    def _add_effects(self, parts: list[tf.Tensor], seed: tf.Tensor | None) -> tf.Tensor:
        line_integrals = parts[0] if self._hardening is None else self._hardening.measure(*parts)
        if self.effects.focal_spot_mm:
            width_mm = self.effects.focal_spot_mm * (self._magnification - 1)
            line_integrals = spot_blur(line_integrals, width_mm, self._pixel_mm)
        if self.effects.photons:
            if seed is None:
                raise InputError("seed", found="none", expected="two integers, as the scanner counts photons")
            line_integrals = photon_noise(line_integrals, self.effects.photons, seed)
        return line_integrals

    def reconstruct(self, sinogram: tf.Tensor) -> tf.Tensor:
        """Return attenuation (B, z, y, x) in 1/mm, reconstructed from line integrals (B, views, rows, columns)."""
        sinogram = self._check_shape("sinogram", sinogram, self.range_shape)
        filtered = tf.ensure_shape(filter_rows(sinogram * self._cosines, self._filter), sinogram.shape)
        if sinogram.shape[0] is not None:
            return cone_backprojection3d(filtered, self.geometry)
        return pyronn_layers.cone_backprojection3d(filtered, self.domain_shape, **_arguments(self.geometry))

    @staticmethod
    def _check_shape(name: str, values: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
        values = tf.convert_to_tensor(values, tf.float32)
        if values.shape.rank != 4 or tuple(values.shape[1:]) != shape:
            raise InputError(name, found=f"shape {values.shape}", expected=f"(batch, {', '.join(map(str, shape))})")
        return values


def _arguments(geometry: GeometryCone3D) -> dict:
    """Return a geometry as keywords of pyronn_layers, which takes batches of any size.

    pyronn's own functions repeat the geometry for each item of the batch, so they must know the batch's size.
    """
    names = ("volume_origin", "volume_spacing", "projection_matrices", "projection_multiplier")
    return {name: getattr(geometry, name) for name in names}
