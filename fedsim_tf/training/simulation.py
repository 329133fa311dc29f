"""The stages of section 2.2 in order, at a single site."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from fedsim_tf.models.latents import LatentDistribution
from fedsim_tf.training.enhancement import EnhancementPretraining
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.optimizers import adam
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.semi_supervised import SemiSupervised
from fedsim_tf.training.stage import Losses, run_stage
from fedsim_tf.training.watch import WithRates


def pretrain(run: RunFolder, learner: SiteLearner) -> LatentDistribution:
    """Stages 1 and 2; returns the normal fitted to the latents of the annotated volumes."""
    config, first = run.config, run.config.pretraining
    run_shared(run, learner, GeneratorPretraining(learner), rate=first.rate, steps=first.steps)
    gan = EnhancementPretraining(learner)
    run_alone(run, gan, name=gan.name, steps=config.gan.steps)
    return learner.latent_statistics(with_unlabelled=False).distribution()


def semi_supervise(run: RunFolder, learner: SiteLearner, distribution: LatentDistribution) -> LatentDistribution:
    """Stage 3 from the fitted normal; returns the normal fitted to all latents that were learnt."""
    stage = SemiSupervised(learner)
    stage.draw_latents(distribution)
    run_shared(run, learner, stage, rate=run.config.semi.rate, steps=run.config.semi.steps)
    return learner.latent_statistics(with_unlabelled=run.config.semi.learns_unannotated).distribution()


def run_alone(run: RunFolder, stage: EnhancementPretraining, *, name: str, steps: int) -> None:
    """Runs a stage that moves nothing that is shared."""
    run_stage(run, name, steps=steps, step=stage.step, objects=stage.objects, watched=stage)


def run_shared(
    run: RunFolder, learner: SiteLearner, stage: GeneratorPretraining | SemiSupervised, *, rate: float, steps: int
) -> None:
    """Runs a stage that moves the shared networks."""
    optimizer = adam(rate, learner.shared_variables, steps=steps)
    step = moving_shared(learner, stage, optimizer)
    objects = {**stage.objects, "shared_optimizer": optimizer}
    run_stage(run, stage.name, steps=steps, step=step, objects=objects, watched=WithRates(stage, shared=optimizer))


def moving_shared(
    learner: SiteLearner, stage: GeneratorPretraining | SemiSupervised, optimizer: tf.keras.optimizers.Optimizer
) -> Callable[[int], Losses]:
    """The step of a stage that moves the shared networks: its gradients, and one optimizer step on them."""
    shared = learner.shared_variables
    move = lambda gradients: optimizer.apply_gradients(zip(gradients, shared, strict=True))  # noqa: E731
    apply = tf.function(move, autograph=False)

    def step(index: int) -> Losses:
        losses, gradients = stage.shared_gradients(index)
        apply(gradients)
        return losses

    return step
