"""Ours-Plus, alone or after federated learning: what it learns beyond, its volumes, and copies of annotated ones."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

from fedsim_tf.generator.export import export_generator, generator_folder
from fedsim_tf.generator.folder import is_generator
from fedsim_tf.models.latents import LatentDistribution
from fedsim_tf.models.volume_enhancer import VolumeEnhancer
from fedsim_tf.plus.deformed import DeformedVolumes, deform_annotated
from fedsim_tf.plus.volume_enhancement import VolumeEnhancement
from fedsim_tf.plus.wider_shapes import WiderShapes, measure_changes
from fedsim_tf.plus.wider_volumes import sample_wider_volumes, volume_renderer
from fedsim_tf.runs.compare_arms import Beside, Samples
from fedsim_tf.runs.samples import draw_samples, note_shape_modes, samples_folder
from fedsim_tf.synthesis import Render, SyntheticVolume, slice_renderer
from fedsim_tf.training.batch_norm import settle_statistics, training_slices
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.stage import run_stage
from fedsim_tf.training.volumes import Volumes, join_volumes

REAL_SHARE = 0.25  # of undeformed volumes among those that Ours-Plus is fine-tuned on


class PlusSite:
    """One site's side of Ours-Plus, after the last stage of Ours-Full or of Ours-Sim-FL.

    Args:
      learner: the site's state, which stays as it is.
      distribution: the normal fitted to its latents, or to those of all sites.
      arm: the arm's name.
    """

    def __init__(self, learner: SiteLearner, distribution: LatentDistribution, arm: str):
        self._learner, self._distribution, self._arm = learner, distribution, arm
        fitted = learner.model.shape_generator(learner.labelled_latents.table).numpy()
        self._shapes = WiderShapes(measure_changes(fitted, spread=learner.config.plus.spread))

    @functools.cached_property
    def _deformed(self) -> DeformedVolumes:
        return deform_annotated(self._learner, self._shapes, copies=self._learner.config.plus.copies)

    def draw(self, run: RunFolder) -> Samples:
        """Learn what renders volumes, write the generator and draw the synthetic volumes, all into the run's folder."""
        learner, folder, drawing = self._learner, samples_folder(run, self._arm), contextlib.ExitStack()
        samples = draw_samples(
            folder,
            learner.model,
            run.config,
            volumes=lambda: self._sample(drawing.enter_context(self._learn_and_export(run))),
            while_drawing=lambda: drawing,
            count=run.config.plus.volumes,
        )
        if not is_generator(generator_folder(folder)):  # an earlier start drew the samples
            with self._learn_and_export(run):
                pass
        note_shape_modes(folder, learner, samples)
        return samples

    @property
    def beside(self) -> Beside:
        """What the arm is fine-tuned on beside the annotated volumes, if configured; see `compare_arms.compare`."""
        return {self._arm: self._copies} if self._learner.config.plus.finetune_on_copies else {}

    def _copies(self) -> Volumes:
        """Return the deformed copies, and the annotated volumes as often as makes them `REAL_SHARE` of all."""
        labelled, copies = self._learner.data.labelled, self._learner.config.plus.copies
        repeated = round(copies * REAL_SHARE / (1.0 - REAL_SHARE)) - 2  # once among the copies, once beside them
        return join_volumes([self._deformed.volumes, *[labelled] * max(0, repeated)])

    @contextlib.contextmanager
    def _learn_and_export(self, run: RunFolder) -> Iterator[Render]:
        """Learn what renders volumes, write the generator, and give what renders within the context."""
        learner = self._learner
        if run.config.plus.enhancement == "slices":
            slices = training_slices(learner, with_unlabelled=learner.config.semi.learns_unannotated)
            with settle_statistics(learner.model.enhancer, slices):
                self._export(run)
                yield slice_renderer(learner.model)
        else:
            stage = VolumeEnhancement(learner, self._deformed)
            run_stage(run, stage, steps=run.config.plus.steps)
            self._export(run, volume_enhancer=stage.network)
            yield volume_renderer(learner.model, stage.network)

    def _export(self, run: RunFolder, *, volume_enhancer: VolumeEnhancer | None = None) -> None:
        export_generator(
            generator_folder(samples_folder(run, self._arm)),
            self._learner,
            self._distribution,
            arm=self._arm,
            with_unlabelled=self._learner.config.semi.learns_unannotated,
            changes_sd=self._shapes.sd,
            volume_enhancer=volume_enhancer,
        )

    def _sample(self, render: Render) -> Iterator[SyntheticVolume]:
        config = self._learner.config
        return sample_wider_volumes(
            self._learner.model, render, self._shapes, self._distribution, count=config.plus.volumes, seed=config.seed
        )
