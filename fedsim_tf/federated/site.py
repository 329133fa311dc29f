"""A site: keeps its data, latents, enhancement network and discriminator; answers the server's tasks."""

from __future__ import annotations

import functools
from typing import Protocol

import numpy as np
from absl import logging

from fedsim_tf.errors import InputError
from fedsim_tf.federated.outbox import Outbox, Shapes
from fedsim_tf.federated.privacy import DELTA, Budget, account, privatized
from fedsim_tf.federated.task import ALONE, BEGIN, END, GRADIENTS, KEEP, LATENTS, Answer, Task
from fedsim_tf.federated.update import Arrays, SiteUpdate
from fedsim_tf.models.latents import LatentDistribution, LatentStatistics
from fedsim_tf.training.protocols import SharedLearner, SharedStage
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.segmentation import VALIDATION_ERROR
from fedsim_tf.training.stage import OpenStage


class Work(Protocol):
    """What a site does with its own data; all of it stays at the site."""

    def begin(self, stage: str, distribution: LatentDistribution | None) -> SharedStage:
        """A stage before its first step; the distribution is that from which new latents are drawn."""

    def alone(self, name: str, distribution: LatentDistribution | None) -> None:
        """Work in which no other site has a part; what an earlier start finished is not done again."""

    def latent_statistics(self, *, with_unlabelled: bool) -> LatentStatistics:
        """The latents' moments."""

    @property
    def shared_shapes(self) -> Shapes:
        """Of every variable that is shared in any stage, by name, whatever the server says of them."""


class Site:
    """One hospital in a federated run.

    Args:
      name: the site's name.
      run: its own folder, which keeps checkpoints, losses and all that it learns.
      work: what it does with its data.
      budget: how much its gradients may give away; None: anything.
    """

    def __init__(self, name: str, run: RunFolder, work: Work, budget: Budget | None = None):
        self.name, self._run, self._work, self._budget = name, run, work, budget
        self._settings = run.config.federated
        self._stage: SharedStage | None = None
        self._open: OpenStage | None = None
        self._given = 0  # rounds' gradients of the stage under way

    @functools.cached_property
    def outbox(self) -> Outbox:
        """What every answer passes on its way out, whatever carries it."""
        shapes, latent = self._work.shared_shapes, self._run.config.model.latent
        return Outbox(self.name, self._run.path, shapes=shapes, latent=latent, minimum=self._settings.latents_of)

    def answer(self, task: Task) -> Answer:
        """Does what a task asks for.

        Raises:
          InputError: a task that does not fit what the site is doing.
          FloatingPointError: a loss or gradient that is not finite; what has gone on from it is not kept.
        """
        return _ANSWERS[task.kind](self, task)

    def _begin(self, task: Task) -> Answer:
        self._check_not_of_an_earlier_run(task)
        stage = self._work.begin(task.stage, task.distribution)
        self._open = OpenStage(self._run, task.stage, objects=stage.objects, watched=stage, at=task.round)
        self._stage, self._given = stage, 0
        self._receive(task)
        return self._done(task)

    def _check_not_of_an_earlier_run(self, task: Task) -> None:
        """Refuses to begin a stage again that others have followed: the server has lost its run, the site has not."""
        record = self._run.finished(task.stage)
        if record is not None and task.round < record["steps"] and (later := self._run.begun_after(task.stage)):
            raise InputError(
                self._run.path,
                found=f"{', '.join(later)} of an earlier run, while the server begins {task.stage} at {task.round}",
                expected="another name of the run, or this folder moved away",
            )

    def _gradients(self, task: Task) -> Answer:
        stage, opened = self._receive(task)
        self._stage = self._open = None  # until it is known that the step was sound
        losses, gradients = stage.shared_gradients(task.round, stage.seeds.rng(task.round))
        added = opened.add(task.round, losses)
        if self._budget is not None:
            self._budget.spend()
        named = zip(stage.learner.shared_names, gradients, strict=True)
        sent = privatized(
            {name: gradient.numpy() for name, gradient in named},
            bound=self._settings.clip_norm,
            multiplier=self._settings.noise_multiplier,
        )
        if not all(np.all(np.isfinite(value)) for value in sent.values()):
            raise FloatingPointError(f"{task.stage}, step {task.round}: a gradient of {self.name} is not finite")
        update = SiteUpdate(self.name, task.stage, task.round, stage.learner.count, sent)
        self._stage, self._open = stage, opened
        self._given += 1
        return Answer(update, {name: value for name, value in added.items() if name != VALIDATION_ERROR})

    def _keep(self, task: Task) -> Answer:
        _, opened = self._receive(task)
        opened.save()
        return self._done(task)

    def _end(self, task: Task) -> Answer:
        under_way = self._open is not None and self._open.name == task.stage
        if not under_way:
            self._begin(task)  # an earlier start ended it; what comes after needs its state
        _, opened = self._receive(task)
        if under_way or self._run.finished(task.stage) is None:
            opened.save()
            self._account(task.stage)
            opened.finish()
        self._stage = self._open = None
        return self._done(task)

    def _account(self, stage: str) -> None:
        """Says what the gradients sent so far have given away, where they carry noise."""
        if self._settings.noise_multiplier:
            spent = account(self._run.path, self._settings, stage=stage, least=self._given)
            logging.info("%s, %s: gradients have epsilon %.2f so far, at delta %g", self.name, stage, spent, DELTA)

    def _alone(self, task: Task) -> Answer:
        self._work.alone(task.stage, task.distribution)
        return self._done(task)

    def _latents(self, task: Task) -> Answer:
        found = self._moments(with_unlabelled=task.with_unlabelled)
        if found is None:
            why = (
                "%s: none of its latents were learnt, or so few that moments would give single ones away; none are sent"
            )
            logging.warning(why, self.name)
            return self._done(task)
        return Answer(SiteUpdate(self.name, task.stage, task.round, found.count, latents=found), {})

    def _moments(self, *, with_unlabelled: bool) -> LatentStatistics | None:
        """Moments that give no single latent away, neither alone nor as a difference; None where there are none."""
        least = self._settings.latents_of
        labelled = self._work.latent_statistics(with_unlabelled=False)
        found = self._work.latent_statistics(with_unlabelled=True) if with_unlabelled else labelled
        if labelled.count >= least and 0 < found.count - labelled.count < least:
            return labelled  # who has both has the difference
        return found if found.count >= least else None

    def _done(self, task: Task) -> Answer:
        return Answer(SiteUpdate(self.name, task.stage, task.round, 0), {})

    def _receive(self, task: Task) -> tuple[SharedStage, OpenStage]:
        """Takes over the shared weights that came with a task of the stage under way."""
        if self._stage is None or self._open is None or self._stage.name != task.stage:
            found = f"{task.kind!r} of {task.stage}"
            raise InputError(f"task for {self.name}", found=found, expected=f"{BEGIN!r} of this stage before it")
        assign(self._stage.learner, task.weights, site=self.name)
        return self._stage, self._open


_ANSWERS = {
    BEGIN: Site._begin,
    GRADIENTS: Site._gradients,
    KEEP: Site._keep,
    END: Site._end,
    ALONE: Site._alone,
    LATENTS: Site._latents,
}


def assign(learner: SharedLearner, weights: Arrays, *, site: str) -> None:
    """Takes over broadcast weights.

    Raises:
      InputError: names that are not those of the shared networks, or a value that is no finite array of their shape.
    """
    names, variables = learner.shared_names, learner.shared_variables
    if sorted(weights) != sorted(names):
        raise InputError(f"weights for {site}", found=sorted(weights), expected=sorted(names))
    for name, variable in zip(names, variables, strict=True):
        value = weights[name]
        if value.shape != tuple(variable.shape) or not np.all(np.isfinite(value)):
            raise InputError(
                f"weights {name} for {site}",
                found=f"shape {value.shape} with values from {value.min()} to {value.max()}",
                expected=f"finite values of shape {tuple(variable.shape)}",
            )
    for name, variable in zip(names, variables, strict=True):
        variable.assign(weights[name])
