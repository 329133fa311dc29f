"""Ours-Fix-Mat: learnt shapes in bodies of fixed tissues, rendered at full resolution (section 3 of the paper).

Attenuation comes from an atlas instead of a network. The body around a heart is that of an annotated training CT, whose
tissues are told apart by CT value.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy import ndimage

from fedsim_tf.baselines.random_hearts import draw_placed_hearts, draw_scattered_hearts
from fedsim_tf.ct.atlas import FixedAtlas
from fedsim_tf.data.preprocess import hu_from_unit
from fedsim_tf.models.latents import LatentDistribution
from fedsim_tf.shape.grid import Grid
from fedsim_tf.synthesis import SyntheticVolume, ct_simulator, scan, slice_renderer
from fedsim_tf.training.annotated_labels import AnnotatedLabels
from fedsim_tf.training.batch_norm import random_slices
from fedsim_tf.training.enhancement import EnhancementPretraining
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.protocols import TensorLosses
from fedsim_tf.training.randomness import step_rng
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.simulation import run_shared
from fedsim_tf.training.stage import run_stage

RIM_MM = 4.0  # width of the rim around a heart in which its CT values still show

Blend = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # foreground, background, mask


class Heart(NamedTuple):
    """A heart to be rendered."""

    z: np.ndarray  # (d,), or empty where it comes from no latent
    label: np.ndarray  # (z, y, x) uint8: heart or not, or region ids


class ShapePretraining(GeneratorPretraining):
    """Stage 1 with the loss of the shape alone."""

    name = "fixed_material/pretraining"

    def losses(self, batch: tf.Tensor) -> TensorLosses:
        z = self.learner.labelled_latents.lookup(batch)
        return {"iou": self.labels.iou_loss(self.learner.model.labels(z), batch)}


class FixedMaterialSite:
    """One site that learns shapes and an enhancement network for fixed materials.

    Args:
      learner: the site's state. Its material network is not used.
      augmented_gan: whether the enhancement network learns from slices that are changed at random, as configured.

    Attributes:
      rim_voxels: width of the rim around a heart in which its CT values still show.
    """

    def __init__(self, learner: SiteLearner, *, augmented_gan: bool = True):
        config, volumes = learner.config, learner.data.labelled
        self._learner, self._augmented_gan = learner, augmented_gan
        self._atlas = FixedAtlas(config.model.simulated_energy_kev)
        self._simulator = ct_simulator(config.model, config.model.size, learner.data.field_of_view_mm)
        images_hu = hu_from_unit(volumes.images, config.data.window_hu)
        spacing = Grid.centred((config.model.size,) * 3, learner.data.field_of_view_mm).spacing_mm[::-1]
        pairs = zip(images_hu, volumes.labels, strict=True)
        self.rim_voxels = rim_voxels(spacing)
        self._bodies = [self._atlas.body(remove_heart(image, label, spacing)) for image, label in pairs]

    @functools.cached_property
    def _labels(self) -> AnnotatedLabels:
        """The annotated volumes' labels, as they are once shapes have been learnt."""
        learner = self._learner
        labels = AnnotatedLabels(learner.data.labelled, by_region=learner.config.model.by_region)
        labels.divide_whole_hearts(learner)
        return labels

    @functools.cached_property
    def _own(self) -> tf.Tensor:
        """The scans (n, z, y, x) of the annotated volumes' own hearts in their own bodies."""
        numbers = range(len(self._learner.data.labelled))
        own = [self._simulate(number, self._labels.number(number), f"own/{number}") for number in numbers]
        return tf.concat(own, axis=0)

    def learn(self, run: RunFolder) -> LatentDistribution:
        """Learn shapes and latents, then the enhancement network; return the normal fitted to the latents."""
        learner, first = self._learner, run.config.pretraining
        run_shared(run, ShapePretraining(learner), rate=first.rate, steps=first.steps)
        name = f"fixed_material/{'gan' if self._augmented_gan else 'plain_gan'}"
        gan = EnhancementPretraining(learner, simulated=self._own, name=name, augmented=self._augmented_gan)
        run_stage(run, gan, steps=run.config.gan.steps)
        return learner.latent_statistics(with_unlabelled=False).distribution()

    def learnt_hearts(self, distribution: LatentDistribution) -> Iterator[Heart]:
        """Yield the hearts of latents drawn from a fitted normal, as many as synthetic volumes are wanted."""
        config = self._learner.config
        for z in distribution.sample(config.synthesis.volumes, seed=config.seed).astype(np.float32):
            yield Heart(z, self._hard_label(self._learner.model.labels(z[None])))

    def random_hearts(self) -> Iterator[Heart]:
        """Yield hearts for which nothing was learnt, in annotated hearts' places; see `draw_placed_hearts`."""
        config, labels = self._learner.config, self._learner.data.labelled.labels
        yield from self._decode(
            draw_placed_hearts(self._learner.model.decoder, labels, count=config.synthesis.volumes, seed=config.seed)
        )

    def scattered_hearts(self) -> Iterator[Heart]:
        """Yield the same hearts of any size and at any place; see `draw_scattered_hearts`."""
        config, decoder = self._learner.config, self._learner.model.decoder
        yield from self._decode(draw_scattered_hearts(decoder, count=config.synthesis.volumes, seed=config.seed))

    def volumes(self, hearts: Iterator[Heart]) -> Iterator[SyntheticVolume]:
        """Render hearts, each in the body of some annotated patient; the images are the enhanced CTs."""
        config = self._learner.config
        render = slice_renderer(self._learner.model)
        for number, heart in enumerate(hearts):
            body = int(step_rng(config.seed, "bodies", number).integers(len(self._bodies)))
            simulated = self._simulate(body, heart.label, f"drawn/{number}")[0].numpy()
            yield SyntheticVolume(render(simulated, heart.label), heart.label, simulated, heart.z)

    def training_slices(self) -> Iterator[tf.Tensor]:
        """Yield the semantics (8, y, x, S) of random annotated slices, for the statistics of batch norm."""
        learner = self._learner
        rng, count = learner.rng("fixed_material/statistics"), len(learner.data.labelled)
        for volume, index in random_slices(rng, volumes=count, size=learner.model.size):
            label = self._labels.slices(volume, index)
            yield learner.model.semantics(tf.gather(self._own, volume), label, index)

    def _simulate(self, body: int, label: np.ndarray, noise: str) -> tf.Tensor:
        """Return the scan (1, z, y, x), on the scale of images, of a heart in an annotated volume's body.

        Photon noise, where there is some, depends on the word `noise` alone, so that a resumed run repeats it.

        Args:
          body: number of the annotated volume.
          label: the heart (z, y, x), or region ids.
          noise: a word that is the scan's own.
        """
        heart = self._learner.model.encode_label(label[None])
        mu_per_mm = self._atlas.add_heart(self._bodies[body][None], heart)
        rng = step_rng(self._learner.config.seed, f"fixed_material/noise/{noise}", 0)
        seed = tf.constant(rng.integers(1 << 31, size=2), tf.int32)
        return scan(self._simulator, mu_per_mm, self._learner.config, seed=seed)

    def _decode(self, hearts: Iterator[tf.Tensor]) -> Iterator[Heart]:
        for tau in hearts:
            yield Heart(np.zeros(0, np.float32), self._hard_label(self._learner.model.decoder(tau)))

    def _hard_label(self, occupancy: tf.Tensor) -> np.ndarray:
        return self._learner.model.hard_label(occupancy)[0].numpy()


def blend_volume(volume: SyntheticVolume, blend: Blend) -> SyntheticVolume:
    """Return a rendered volume whose image is a blend of simulated CT, enhanced CT and heart."""
    image = np.clip(blend(volume.coarse, volume.image, volume.label), -1.0, 1.0).astype(np.float32)
    return volume._replace(image=image)


def rim_voxels(spacing_mm: tuple[float, ...]) -> int:
    """Return how many voxels the rim around a heart is wide, at least one."""
    return max(1, round(RIM_MM / min(spacing_mm)))


def remove_heart(image_hu: np.ndarray, label: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Return a CT in which the heart and its rim have the values of the nearest other voxels.

    Args:
      image_hu: CT (z, y, x) in HU.
      label: the heart (z, y, x).
      spacing_mm: voxel size (z, y, x).
    """
    heart = ndimage.binary_dilation(label > 0, iterations=rim_voxels(spacing_mm))
    if heart.all() or not heart.any():
        return image_hu
    nearest = ndimage.distance_transform_edt(heart, spacing_mm, return_distances=False, return_indices=True)
    return image_hu[tuple(nearest)]
