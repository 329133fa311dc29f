"""A site, which keeps its data, latents, enhancement network and discriminator and answers the server's tasks."""

from __future__ import annotations

import functools
from typing import Protocol

import numpy as np
from absl import logging

from fedsim_tf.errors import InputError
from fedsim_tf.federated.kept_rounds import KeptRound, keep_round
from fedsim_tf.federated.outbox import Outbox, Shapes
from fedsim_tf.federated.privacy import DELTA, Budget, privatize, write_account
from fedsim_tf.federated.task import ALONE, BEGIN, END, GRADIENTS, KEEP, LATENTS, Answer, Task
from fedsim_tf.federated.update import Arrays, SiteUpdate
from fedsim_tf.models.latents import LatentDistribution, LatentStatistics
from fedsim_tf.training.protocols import SharedLearner, SharedStage
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.segmentation import VALIDATION_ERROR
from fedsim_tf.training.stage import OpenStage


class Work(Protocol):
    """The work of a site on its own data; nothing of it leaves the site but what `Site` answers."""

    def begin(self, stage: str, distribution: LatentDistribution | None) -> SharedStage:
        """Return a stage before its first step; `distribution` is what new latents are drawn from."""

    def work_alone(self, name: str, distribution: LatentDistribution | None) -> None:
        """Do work in which no other site has a part; what an earlier start has finished is not done again."""

    def measure_latents(self, *, with_unlabelled: bool) -> LatentStatistics:
        """Return the moments of the latents that this site has learnt."""

    @property
    def shared_shapes(self) -> Shapes:
        """Shapes by name of the variables that any stage shares, as this site makes them."""


class Site:
    """One hospital in a federated run.

    Args:
      name: the site's name.
      run: the site's own folder, which keeps checkpoints, losses and all that it learns.
      work: the work on its data.
      budget: the limit of what its gradients may give away; None: no limit.
    """

    def __init__(self, name: str, run: RunFolder, work: Work, budget: Budget | None = None):
        self.name, self._run, self._work, self._budget = name, run, work, budget
        self._settings = run.config.federated
        self._stage: SharedStage | None = None
        self._open: OpenStage | None = None
        self._given = 0  # rounds of the stage under way for which this site has given gradients

    @functools.cached_property
    def outbox(self) -> Outbox:
        """The gate that every answer passes on its way out, whichever engine carries it."""
        shapes, latent = self._work.shared_shapes, self._run.config.model.latent
        return Outbox(self.name, self._run.path, shapes=shapes, latent=latent, minimum=self._settings.latents_of)

    def answer(self, task: Task) -> Answer:
        """Do what a task asks for, and return the answer.

        Raises:
          InputError: the task does not fit what the site is doing.
          FloatingPointError: a loss or gradient is not finite; no state after it is kept.
        """
        return _ANSWERS[task.kind](self, task)

    def _begin(self, task: Task) -> Answer:
        self._check_not_of_an_earlier_run(task)
        stage = self._work.begin(task.stage, task.distribution)
        self._open = OpenStage(self._run, task.stage, objects=stage.objects, watched=stage, at=task.round)
        self._stage, self._given = stage, 0
        self._receive(task)
        return self._acknowledge(task)

    def _check_not_of_an_earlier_run(self, task: Task) -> None:
        """Refuse to begin a stage again that others have followed: the server has lost its run, the site has not."""
        record = self._run.finished(task.stage)
        if record is not None and task.round < record["steps"] and (later := self._run.begun_after(task.stage)):
            raise InputError(
                self._run.path,
                found=f"{', '.join(later)} of an earlier run, while the server begins {task.stage} at {task.round}",
                expected="another name of the run, or this folder moved away",
            )

    def _compute_gradients(self, task: Task) -> Answer:
        stage, opened = self._receive(task)
        self._stage = self._open = None  # until the step is known to be finite, so that nothing after it is kept
        losses, gradients = stage.shared_gradients(task.round, stage.seeds.rng(task.round))
        added = opened.add(task.round, losses)
        if self._budget is not None:
            self._budget.spend()
        named = zip(stage.learner.shared_names, gradients, strict=True)
        sent = privatize(
            {name: gradient.numpy() for name, gradient in named},
            bound=self._settings.clip_norm,
            multiplier=self._settings.noise_multiplier,
        )
        if not all(np.all(np.isfinite(value)) for value in sent.values()):
            raise FloatingPointError(f"{task.stage}, step {task.round}: a gradient of {self.name} is not finite")
        update = SiteUpdate(self.name, task.stage, task.round, stage.learner.count, sent)
        if most := self._settings.keep_sent:
            kept = KeptRound(task.stage, task.round, task.weights, sent, stage.list_batch(task.round))
            keep_round(self._run.path, kept, most=most)
        self._stage, self._open = stage, opened
        self._given += 1
        return Answer(update, {name: value for name, value in added.items() if name != VALIDATION_ERROR})

    def _keep(self, task: Task) -> Answer:
        _, opened = self._receive(task)
        opened.save()
        return self._acknowledge(task)

    def _end(self, task: Task) -> Answer:
        under_way = self._open is not None and self._open.name == task.stage
        if not under_way:
            self._begin(task)  # an earlier start has ended it, but later stages need its state
        _, opened = self._receive(task)
        if under_way or self._run.finished(task.stage) is None:
            opened.save()
            self._account_for(task.stage)
            opened.finish()
        self._stage = self._open = None
        return self._acknowledge(task)

    def _account_for(self, stage: str) -> None:
        """Log and record the epsilon of all gradients sent so far, where they carry noise."""
        if self._settings.noise_multiplier:
            spent = write_account(self._run.path, self._settings, stage=stage, least=self._given)
            logging.info("%s, %s: gradients have epsilon %.2f so far, at delta %g", self.name, stage, spent, DELTA)

    def _work_alone(self, task: Task) -> Answer:
        self._work.work_alone(task.stage, task.distribution)
        return self._acknowledge(task)

    def _measure_latents(self, task: Task) -> Answer:
        found = self._choose_moments(with_unlabelled=task.with_unlabelled)
        if found is None:
            why = "none of its latents were learnt, or so few that their moments would give single ones away"
            logging.warning("%s sends no moments of latents: %s", self.name, why)
            return self._acknowledge(task)
        return Answer(SiteUpdate(self.name, task.stage, task.round, found.count, latents=found), {})

    def _choose_moments(self, *, with_unlabelled: bool) -> LatentStatistics | None:
        """Return moments that give no single latent away, neither alone nor as a difference; None if there are none."""
        least = self._settings.latents_of
        labelled = self._work.measure_latents(with_unlabelled=False)
        found = self._work.measure_latents(with_unlabelled=True) if with_unlabelled else labelled
        if labelled.count >= least and 0 < found.count - labelled.count < least:
            return labelled  # the server could subtract these moments from `found`: few latents would remain
        return found if found.count >= least else None

    def _acknowledge(self, task: Task) -> Answer:
        """Return the answer to a task that asks for neither gradients nor moments."""
        return Answer(SiteUpdate(self.name, task.stage, task.round, 0), {})

    def _receive(self, task: Task) -> tuple[SharedStage, OpenStage]:
        """Assign the shared weights that came with a task, and return the stage under way."""
        if self._stage is None or self._open is None or self._stage.name != task.stage:
            found = f"{task.kind!r} of {task.stage}"
            raise InputError(f"task for {self.name}", found=found, expected=f"{BEGIN!r} of this stage before it")
        assign_weights(self._stage.learner, task.weights, site=self.name)
        return self._stage, self._open


_ANSWERS = {
    BEGIN: Site._begin,
    GRADIENTS: Site._compute_gradients,
    KEEP: Site._keep,
    END: Site._end,
    ALONE: Site._work_alone,
    LATENTS: Site._measure_latents,
}


def assign_weights(learner: SharedLearner, weights: Arrays, *, site: str) -> None:
    """Assign the weights that the server has sent to a learner's shared variables, all or none.

    Args:
      learner: the learner.
      weights: values by name.
      site: the site's name, for the message.

    Raises:
      InputError: the names are not those of the shared variables, or a value is not finite or of another shape.
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
