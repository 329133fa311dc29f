"""A generator that is loaded: labelled synthetic CTs from seeds, and CTs from labels and coarse CTs."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from absl import logging

from fedsim_tf.config import Config
from fedsim_tf.data.preprocess import hu_from_unit
from fedsim_tf.errors import InputError
from fedsim_tf.generator.folder import NETWORKS, GeneratorFiles, read_generator
from fedsim_tf.generator.sampling_plan import SamplingPlan, check_mode_weights, check_rendering
from fedsim_tf.generator.weights import restore_weights
from fedsim_tf.models import built
from fedsim_tf.models.latents import draw_latents
from fedsim_tf.plus.wider_shapes import WiderShapes
from fedsim_tf.plus.wider_volumes import draw_change_noise, synthesize_deformed, volume_renderer
from fedsim_tf.records.generator_card import GeneratorCard
from fedsim_tf.regions import REGION_IDS
from fedsim_tf.synthesis import (
    GenerativeModel,
    Render,
    downsample,
    place_volume,
    slice_renderer,
    synthesize,
    unit_scale,
)
from fedsim_tf.volume import Volume


@dataclasses.dataclass(frozen=True, eq=False)
class GeneratedVolume:
    """A labelled synthetic CT, centred on the origin of coordinates.

    Attributes:
      number: which sample of its seed it is, counted from 0.
      image: the CT, int16 in HU.
      label: heart or not, or region ids, uint8 on the same grid.
      coarse_hu: (c, c, c) in HU, the simulated CT that the image was made from; values may lie beyond the CT window.
    """

    number: int
    image: Volume
    label: Volume
    coarse_hu: np.ndarray


class Generator:
    """A finished run's shape, material and enhancement networks with the normal distribution of their latents.

    That of Ours-Plus changes hearts too, and deforms coarse CTs so that they show the changed hearts.

    Args:
      files: the generator whose shapes and materials are drawn.
      rendering: another one, whose enhancement network, scanner and field of view show them; None: its own.

    Attributes:
      card: what it is, what it scored, on what terms and for what it may not be used.
      field_of_view_mm: extent (x, y, z) of its volumes.

    Raises:
      InputError: arrays of other shapes than the settings say, or two generators that do not fit together.
    """

    def __init__(self, files: GeneratorFiles, *, rendering: GeneratorFiles | None = None):
        look = rendering or files
        check_rendering(files, look)
        self.card: GeneratorCard = files.card
        self._files, self._config = files, _merge_settings(files.config, look.config)
        self.field_of_view_mm = look.card.field_of_view_mm
        self._model = GenerativeModel(self._config, files.shape_model, self.field_of_view_mm)
        self._shapes = None if files.changes_sd is None else WiderShapes(files.changes_sd)
        seed, whole = self._config.seed, look.enhances_volumes
        self._volume_enhancer = built.volume_enhancer(self._config, seed=seed) if whole else None
        if whole and not self._config.plus.interpolated:
            text = "%s: its network leaves checks of two voxels in hearts; a generator of a run of today does not"
            logging.warning(text, look.path)
        enhancer = self._model.enhancer if self._volume_enhancer is None else self._volume_enhancer
        networks = (self._model.shape_generator, self._model.material_generator, enhancer)
        for name, network, source in zip(NETWORKS, networks, (files, files, look), strict=True):
            restore_weights(network, source.weights[name], subject=source.path / f"{name}.npz")

    @property
    def window_hu(self) -> tuple[float, float]:
        """The CT values between which its images lie."""
        return self._config.data.window_hu

    def sample(
        self,
        count: int,
        *,
        seed: int = 0,
        spread: float = 1.0,
        fix_shape: int | None = None,
        fix_material: int | None = None,
        interpolate: tuple[int, int] | None = None,
        modes: Mapping[int, float] | None = None,
    ) -> Iterator[GeneratedVolume]:
        """Draw labelled volumes, one at a time as they are asked for.

        Args:
          count, seed, spread, fix_shape, fix_material, interpolate, modes: see `SamplingPlan`.

        Raises:
          InputError: a value outside its limits.
        """
        plan = SamplingPlan(
            count=count,
            seed=seed,
            spread=spread,
            fix_shape=fix_shape,
            fix_material=fix_material,
            interpolate=interpolate,
            modes=modes or {},
        )
        return self.draw(plan, range(count))

    def draw(self, plan: SamplingPlan, numbers: Iterable[int]) -> Iterator[GeneratedVolume]:
        """Draw some of the volumes of a plan.

        Args:
          plan: which volumes there are.
          numbers: those that are drawn, each below the plan's count.

        Raises:
          InputError: modes that the shape model does not have.
        """
        check_mode_weights(plan.modes, self._files.shape_model.n_modes)
        files = self._files
        latents = draw_latents(files.mean, files.root, plan.drawn, seed=plan.seed, spread=plan.spread)
        noise = self._draw_change_noise(plan)
        return (self._make(plan, latents, noise, number) for number in numbers)

    def render(self, labels: np.ndarray | Volume, coarse_hu: np.ndarray | Volume) -> Volume:
        """Return the CT that the enhancement network makes of a label and a coarse CT, on the generator's grid.

        A patient's label and own CT, reduced, give that patient as this generator's scanner shows patients.

        Args:
          labels: (n, n, n), heart where not 0, or region ids where the generator tells regions apart; n is the edge of
            its volumes.
          coarse_hu: the coarse CT (c, c, c) in HU, or a CT (n, n, n) that is reduced to it.

        Raises:
          InputError: cubes of other sizes, or values that are no region ids.
        """
        label, coarse = self._check_label(_get_array(labels)), self._check_coarse(_get_array(coarse_hu))
        return place_volume(self._render(coarse, label), self.field_of_view_mm, window_hu=self.window_hu)

    @functools.cached_property
    def _render(self) -> Render:
        if self._volume_enhancer is None:
            return slice_renderer(self._model)
        return volume_renderer(self._model, self._volume_enhancer)

    def _draw_change_noise(self, plan: SamplingPlan) -> np.ndarray:
        """Return the noise behind the changes of the plan's samples (n, K + 7), or (n, 0) where hearts stay."""
        if self._shapes is None:
            return np.zeros((plan.drawn, 0))
        length = len(self._shapes.sd)
        drawn = [draw_change_noise(length, seed=plan.seed, number=number) for number in range(plan.drawn)]
        return plan.spread * np.stack(drawn)

    def _make(self, plan: SamplingPlan, latents: np.ndarray, noise: np.ndarray, number: int) -> GeneratedVolume:
        z_shape, z_material = _choose_rows(plan, latents, number)
        tau = self._model.shape_generator(z_shape[None])[0].numpy()
        if self._shapes is not None:
            tau = self._shapes.change(tau, _choose_rows(plan, noise, number)[0])
        for mode, weight in plan.modes.items():
            tau[mode] = weight
        make = synthesize if self._shapes is None else synthesize_deformed
        made = make(self._model, self._render, z_material, tau=tau)
        image = place_volume(made.image, self.field_of_view_mm, window_hu=self.window_hu)
        label = place_volume(made.label, self.field_of_view_mm)
        return GeneratedVolume(number, image, label, hu_from_unit(made.coarse, self.window_hu))

    def _check_label(self, label: np.ndarray) -> np.ndarray:
        size = self._model.size
        if label.shape != (size,) * 3:
            raise InputError("labels", found=f"shape {label.shape}", expected=f"{(size,) * 3}, the generator's grid")
        if not self._config.model.by_region:
            return (label != 0).astype(np.uint8)
        if not np.isin(label, (0, *REGION_IDS)).all():
            raise InputError("labels", found="other values", expected="region ids 0 to 7")
        return label.astype(np.uint8)

    def _check_coarse(self, coarse_hu: np.ndarray) -> np.ndarray:
        edges = (self._model.coarse_size, self._model.size)
        if coarse_hu.shape not in [(edge,) * 3 for edge in edges]:
            expected = f"a cube of {edges[0]} or of {edges[1]} voxels an edge"
            raise InputError("coarse_hu", found=f"shape {coarse_hu.shape}", expected=expected)
        unit = unit_scale(coarse_hu.astype(np.float32), self.window_hu)
        return unit if len(unit) == edges[0] else downsample(unit[None], edges[0])[0]


def load_generator(path: str | os.PathLike, *, rendering: str | os.PathLike | None = None) -> Generator:
    """Load a generator that a run has written. Neither the run nor its data is needed.

    Args:
      path: its folder, such as runs/demo/fold_0/generators/ours_full.
      rendering: another generator's folder: shapes and materials of the first are shown by the enhancement network and
        in the field of view of this one.

    Raises:
      InputError: a folder that is none or is damaged, or two that do not fit together; see `read_generator`.
    """
    files = read_generator(path)
    return Generator(files, rendering=None if rendering is None else read_generator(rendering))


def _merge_settings(own: Config, look: Config) -> Config:
    """Return the settings of the look, with those of one's own shape and material networks."""
    model = dataclasses.replace(look.model, latent=own.model.latent, shape_modes=own.model.shape_modes)
    return dataclasses.replace(look, model=model)


def _choose_rows(plan: SamplingPlan, rows: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what a volume's shape and its material are made from, given a row, such as a latent, of each sample."""
    if plan.interpolate is None:
        own = rows[number]
    else:
        first, last = rows[list(plan.interpolate)]
        share = np.float32(number / (plan.count - 1))
        own = (1 - share) * first + share * last
    shape = own if plan.fix_shape is None else rows[plan.fix_shape]
    material = own if plan.fix_material is None else rows[plan.fix_material]
    return shape, material


def _get_array(values: np.ndarray | Volume) -> np.ndarray:
    return values.array if isinstance(values, Volume) else np.asarray(values)
