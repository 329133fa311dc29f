"""The generative model of section 2.1: from a latent vector to labelled, realistic CT slices and volumes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fedsim_tf.config import Config, ModelConfig
from fedsim_tf.ct import attenuation
from fedsim_tf.ct.atlas import render
from fedsim_tf.ct.effects import ScanEffects
from fedsim_tf.ct.simulator import CTSimulator
from fedsim_tf.data.preprocess import hu_from_unit
from fedsim_tf.models import built
from fedsim_tf.models.generators import MaterialGenerator, ShapeGenerator
from fedsim_tf.models.latents import LatentDistribution
from fedsim_tf.resize import resize_slices, resize_volume
from fedsim_tf.shape.decoder import ShapeDecoder
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.parameters import shape_frame_mm
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.shape.voxelize import separate_regions, to_label_map
from fedsim_tf.volume import Geometry, Volume

Render = Callable[[np.ndarray, np.ndarray], np.ndarray]  # coarse CT (c, c, c), label (z, y, x) to image (z, y, x)


class SyntheticVolume(NamedTuple):
    """A labelled synthetic CT on the model's grid, which is centred on the origin of coordinates."""

    image: np.ndarray  # (z, y, x), -1 to 1 over the CT window
    label: np.ndarray  # (z, y, x) uint8: heart or not, or region ids; heart where not zero
    coarse: np.ndarray  # (c, c, c), the simulated CT before enhancement, same scale
    latent: np.ndarray  # (d,)


class GenerativeModel(tf.Module):
    """The shape and material networks, the simulated scanner and the enhancement network of one site.

    Args:
      config: sizes, energies, the CT window, and the seed of all initial values.
      ssm: the statistical shape model behind the shape network.
      field_of_view_mm: extent (x, y, z) of this site's volumes.
    """

    def __init__(self, config: Config, ssm: StatisticalShapeModel, field_of_view_mm: tuple[float, float, float]):
        super().__init__(name="generative_model")
        sizes = config.model
        self.size, self.coarse_size = sizes.size, sizes.coarse_size
        self.field_of_view_mm = field_of_view_mm
        self._config = config
        self.shape_generator, self.material_generator = shared_networks(sizes, n_modes=ssm.n_modes, seed=config.seed)
        self.enhancer = built.enhancement_generator(sizes, seed=config.seed)
        self.decoder = _decoder(sizes, ssm, field_of_view_mm)
        self.simulator = ct_simulator(sizes, sizes.coarse_size, field_of_view_mm)

    @property
    def shared_variables(self) -> list[tf.Variable]:
        """The variables theta_S and theta_M, which sites learn together."""
        return self.shape_generator.trainable_variables + self.material_generator.trainable_variables

    def labels(self, z: tf.Tensor) -> tf.Tensor:
        """Return Y_z, the occupancy in [0, 1] for latents (B, d): of the heart (B, z, y, x), or (B, z, y, x, 7)."""
        return self.decoder(self.shape_generator(z))

    def encode_label(self, label: tf.Tensor) -> tf.Tensor:
        """Return labels as the enhancement network takes them.

        Args:
          label: heart or not (...), or where labels tell regions apart their ids (...).

        Returns:
          float32: the mask (...), or a mask for each region (..., 7).
        """
        return separate_regions(label) if self._config.model.by_region else tf.cast(label, tf.float32)

    def hard_label(self, occupancy: tf.Tensor) -> tf.Tensor:
        """Return labels uint8 of occupancies (...) or (..., 7): where the heart fills more than half, or region ids."""
        if self._config.model.by_region:
            return to_label_map(occupancy)
        return tf.cast(occupancy > 0.5, tf.uint8)

    def coarse_ct(self, z: tf.Tensor) -> tf.Tensor:
        """Return X~_z, the simulated coarse CT (B, c, c, c) for latents (B, d), on the scale of images, not clipped.

        Photon noise, where there is some, is seeded by the latents themselves, so that a resumed run repeats it.
        """
        seed = tf.bitcast(tf.stack([tf.reduce_sum(z), tf.reduce_sum(tf.square(z))]), tf.int32)
        return self.scan_material(self.material_generator(z), seed=seed)

    def scan_material(self, mu_per_mm: tf.Tensor, *, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Return the simulated CT of attenuation (B, c, c, c) in 1/mm; `seed`: of photon noise, where there is some."""
        return scan(self.simulator, mu_per_mm, self._config, seed=seed)

    def enhanced_slices(
        self, coarse: tf.Tensor, label_slices: tf.Tensor, index: tf.Tensor, *, training: bool
    ) -> tf.Tensor:
        """Return X_z,k, CT slices (B, y, x), for coarse CTs, label slices and their numbers, see `semantics`."""
        return self.enhancer(self.semantics(coarse, label_slices, index), training=training)[..., 0]

    def semantics(self, coarse: tf.Tensor, label_slices: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        """Return the enhancement network's input: upsampled coarse CT, label, and the constant k / size.

        Args:
          coarse: coarse CTs (B, c, c, c).
          label_slices: of the heart (B, y, x), or by region (B, y, x, 7); masks or occupancies.
          index: the slices' numbers k (B,).

        Returns:
          (B, y, x, 3), or by region (B, y, x, 9).
        """
        upsampled = resize_slices(coarse, index, self.size)[..., None]
        position = tf.cast(index, tf.float32)[:, None, None, None] / self.size
        label_slices = label_slices if len(label_slices.shape) == 4 else label_slices[..., None]
        return tf.concat([upsampled, label_slices, tf.ones_like(upsampled) * position], axis=-1)


def shared_networks(sizes: ModelConfig, *, n_modes: int, seed: int) -> tuple[ShapeGenerator, MaterialGenerator]:
    """Return G_S and G_M with their variables made; equal seeds give equal initial values."""
    water = attenuation.water_mu_per_mm(sizes.simulated_energy_kev)
    shape = ShapeGenerator(n_modes=n_modes, latent_dim=sizes.latent, seed=seed)
    material = MaterialGenerator(size=sizes.coarse_size, latent_dim=sizes.latent, mu_initial_per_mm=water, seed=seed)
    z = tf.zeros((1, sizes.latent))
    shape(z)
    material(z)
    return shape, material


def scan(simulator: CTSimulator, mu_per_mm: tf.Tensor, config: Config, *, seed: tf.Tensor | None = None) -> tf.Tensor:
    """Return the simulated CT of attenuation in 1/mm, both (B, z, y, x): -1 to 1 over the CT window, not clipped."""
    return unit_scale(render(mu_per_mm, simulator, config.model.simulated_energy_kev, seed=seed), config.data.window_hu)


def unit_scale(hu: tf.Tensor, window_hu: tuple[float, float]) -> tf.Tensor:
    """Return CT values with the window as [-1, 1]; values outside it go on beyond, so that they have gradients too."""
    low, high = window_hu
    return (hu - low) * (2.0 / (high - low)) - 1.0


def take_slices(volumes: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Return slice `index` (B,) along z of each of the volumes (B, z, y, x) as (B, y, x), with their channels."""
    return tf.gather(volumes, index, axis=1, batch_dims=1)


def sample_volumes(
    model: GenerativeModel, distribution: LatentDistribution, count: int, *, seed: int
) -> Iterator[SyntheticVolume]:
    """Draw latents from the fitted normal and render every slice of each, with labels as `hard_label` gives them."""
    render = slice_renderer(model)
    for z in distribution.sample(count, seed=seed):
        yield synthesize(model, render, z)


def synthesize(
    model: GenerativeModel, render: Render, z: np.ndarray, *, tau: np.ndarray | None = None
) -> SyntheticVolume:
    """Return the labelled volume of a latent.

    Args:
      model: the generative model.
      render: makes CTs of coarse CTs and labels, such as `slice_renderer`'s.
      z: the latent (d,).
      tau: shape parameters (K + 7,) that take the place of those of the latent, which then is the material's alone.
    """
    occupancy = model.labels(z[None]) if tau is None else model.decoder(tau[None])
    label = model.hard_label(occupancy)[0].numpy()
    coarse = model.coarse_ct(z[None])[0].numpy()
    return SyntheticVolume(render(coarse, label), label, coarse, z)


def place_volume(
    array: np.ndarray, field_of_view_mm: tuple[float, float, float], *, window_hu: tuple[float, float] | None = None
) -> Volume:
    """Return a synthetic cube as a volume that is centred on the origin of coordinates.

    Args:
      array: an image or a label (z, y, x).
      field_of_view_mm: the cube's extent (x, y, z).
      window_hu: the CT values that are -1 and 1 in an image, which becomes int16 in HU; None leaves a label as it is.
    """
    grid = Grid.centred(array.shape, field_of_view_mm)  # type: ignore[arg-type]
    if window_hu is not None:
        array = np.rint(hu_from_unit(array, window_hu)).astype(np.int16)
    return Volume(array, Geometry(grid.spacing_mm, grid.origin_mm))


def slice_renderer(model: GenerativeModel, *, batch: int = 8) -> Render:
    """Return a function that makes a CT, in [-1, 1], of a coarse CT and a label, slice by slice.

    Args:
      model: its enhancement network renders the slices.
      batch: slices rendered at a time.

    Returns:
      A function of a coarse CT (c, c, c) and a label (z, y, x), heart or not or region ids; it returns (z, y, x).
    """
    enhance = tf.function(
        lambda coarse, labels, index: model.enhanced_slices(coarse, model.encode_label(labels), index, training=False),
        autograph=False,
        reduce_retracing=True,
    )

    def render(coarse: np.ndarray, label: np.ndarray) -> np.ndarray:
        slices = []
        for first in range(0, len(label), batch):
            index = np.arange(first, min(first + batch, len(label)), dtype=np.int32)
            repeated = tf.repeat(coarse[None], len(index), axis=0)
            slices.append(enhance(repeated, tf.constant(label[index], tf.float32), tf.constant(index)).numpy())
        return np.concatenate(slices)

    return render


def downsample(images: np.ndarray, coarse_size: int) -> np.ndarray:
    """Return X~, real CT volumes (B, n, n, n) reduced to (B, c, c, c): the target of the material network."""
    return resize_volume(tf.constant(images, tf.float32), coarse_size).numpy()


def _decoder(sizes: ModelConfig, ssm: StatisticalShapeModel, field_of_view_mm: tuple[float, ...]) -> ShapeDecoder:
    grid = Grid.centred((sizes.size,) * 3, shape_frame_mm(field_of_view_mm))
    return ShapeDecoder(ssm, grid, labels=sizes.labels, rows_per_voxel=sizes.rows_per_voxel)


def ct_simulator(sizes: ModelConfig, edge: int, field_of_view_mm: tuple[float, ...]) -> CTSimulator:
    """Return the configured scanner for cubes of `edge` voxels that fill a field of view (x, y, z)."""
    spacing_mm = tuple(extent / edge for extent in field_of_view_mm)
    effects = ScanEffects(
        photons=sizes.simulated_photons,
        focal_spot_mm=sizes.simulated_focal_spot_mm,
        kernel_mm=sizes.simulated_kernel_mm,
        tube_kv=sizes.simulated_tube_kv,
    )
    return CTSimulator((edge,) * 3, spacing_mm, effects=effects, energy_kev=sizes.simulated_energy_kev)  # type: ignore[arg-type]
