"""The stages of section 2.2 in order, at a single site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from fedsim_tf.models.latents import LatentDistribution
from fedsim_tf.training.enhancement import EnhancementPretraining
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.optimizers import adam
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.protocols import SharedStage, TensorLosses, Trackables
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.semi_supervised import SemiSupervised
from fedsim_tf.training.stage import run_stage
from fedsim_tf.training.watch import Look, rates


def pretrain(run: RunFolder, learner: SiteLearner) -> LatentDistribution:
    """Run stages 1 and 2; return the normal fitted to the latents of the annotated volumes."""
    config, first = run.config, run.config.pretraining
    run_shared(run, GeneratorPretraining(learner), rate=first.rate, steps=first.steps)
    run_stage(run, EnhancementPretraining(learner), steps=config.gan.steps)
    return learner.latent_statistics(with_unlabelled=False).distribution()


def semi_supervise(run: RunFolder, learner: SiteLearner, distribution: LatentDistribution) -> LatentDistribution:
    """Run stage 3 from the fitted normal; return the normal fitted to all latents that were learnt."""
    stage = SemiSupervised(learner)
    stage.draw_latents(distribution)
    run_shared(run, stage, rate=run.config.semi.rate, steps=run.config.semi.steps)
    return learner.latent_statistics(with_unlabelled=run.config.semi.learns_unannotated).distribution()


def run_shared(run: RunFolder, stage: SharedStage, *, rate: float, steps: int) -> None:
    """Run a stage with shared networks at a site that has nobody to share them with."""
    run_stage(run, SingleSiteStage(stage, rate=rate, steps=steps), steps=steps)


class SingleSiteStage:
    """A shared stage whose shared networks are moved by the gradients of this site alone.

    Args:
      stage: the site's side.
      rate, steps: of the optimizer of the shared networks; see `adam`.
    """

    def __init__(self, stage: SharedStage, *, rate: float, steps: int):
        shared = stage.learner.shared_variables
        self._stage, self._optimizer = stage, adam(rate, shared, steps=steps)
        move = lambda gradients: self._optimizer.apply_gradients(zip(gradients, shared, strict=True))  # noqa: E731
        self._move = tf.function(move, autograph=False)
        self.name, self.seeds = stage.name, stage.seeds

    @property
    def objects(self) -> Trackables:
        """Return what a checkpoint holds: the stage's objects and the optimizer of the shared networks."""
        return {**self._stage.objects, "shared_optimizer": self._optimizer}

    @property
    def gradient_norms(self) -> Mapping[str, Any]:
        """The norm of each network's gradients in the last step."""
        return self._stage.gradient_norms

    def look(self) -> Look:
        """Return what the stage shows, and the rate of the shared networks."""
        return self._stage.look() | Look(rates(shared=self._optimizer))

    def step(self, index: int, rng: np.random.Generator) -> TensorLosses:
        """Do a step of the stage, then one optimizer step on the shared networks; return the losses."""
        losses, gradients = self._stage.shared_gradients(index, rng)
        self._move(gradients)
        return losses
