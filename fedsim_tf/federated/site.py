"""A site, which keeps its data, latents, enhancement network and discriminator and answers the server's tasks."""

from __future__ import annotations

import functools
import math
from typing import Protocol

import numpy as np
from absl import logging

from fedsim_tf.errors import InputError
from fedsim_tf.federated.encryption.sum_cipher import SumCipher
from fedsim_tf.federated.guard import ALL, ANNOTATED, Guard
from fedsim_tf.federated.kept_rounds import KeptRound, keep_round
from fedsim_tf.federated.outbox import Outbox, Shapes
from fedsim_tf.federated.privacy import privatize, privatize_losses, privatize_moments
from fedsim_tf.federated.privacy_account import DELTA, MOMENTS_SHARE, ROUND_SHARE, Budget, write_account
from fedsim_tf.federated.task import ALONE, BEGIN, END, GRADIENTS, KEEP, LATENTS, Answer, Task
from fedsim_tf.federated.update import Arrays, SiteUpdate
from fedsim_tf.models.latents import LatentDistribution, LatentStatistics
from fedsim_tf.training.protocols import Losses, SharedGradients, SharedLearner, SharedStage
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.segmentation import VALIDATION_ERROR
from fedsim_tf.training.stage import OpenStage


class Work(Protocol):
    """The work of a site on its own data; nothing of it leaves the site but what `Site` answers."""

    def begin(self, stage: str, distribution: LatentDistribution | None) -> SharedStage:
        """Return a stage before its first step; `distribution` is what new latents are drawn from."""

    def work_alone(self, name: str, distribution: LatentDistribution | None) -> None:
        """Do work in which no other site has a part; what an earlier start has finished is not done again."""

    def count_volumes(self) -> int:
        """Return how many volumes this site learns from, annotated or not: so many latents it can have."""

    def measure_latents(self, *, with_unlabelled: bool, largest_norm: float = 0.0) -> LatentStatistics:
        """Return the moments of the latents that this site has learnt, none of them longer than `largest_norm`; 0: any.

        Longer ones are scaled down for it.
        """

    @property
    def shared_shapes(self) -> Shapes:
        """Shapes by name of the variables that any stage shares, as this site makes them."""


class Site:
    """One hospital in a federated run.

    Args:
      name: the site's name.
      run: the site's own folder, which keeps checkpoints, losses and all that it learns.
      work: the work on its data.
      budget: the limit of what its answers may give away; None: no limit.
      guard: the checks of what the server asks for; None: the server is trusted, as within one process.
      cipher: what gradients are encrypted with, where none may leave otherwise; see `EncryptingSite`.
    """

    def __init__(
        self,
        name: str,
        run: RunFolder,
        work: Work,
        budget: Budget | None = None,
        guard: Guard | None = None,
        cipher: SumCipher | None = None,
    ):
        self.name, self._run, self._work, self._budget, self._guard = name, run, work, budget, guard
        self._cipher = cipher
        self._settings = run.config.federated
        self._stage: SharedStage | None = None
        self._open: OpenStage | None = None
        self._given = 0  # rounds of the stage under way for which this site has given gradients
        self._held = 0  # after how many rounds of the stage the shared weights in memory were sent
        self._at_end = False  # whether the last stage that was opened has ended with the state of its last round

    @functools.cached_property
    def outbox(self) -> Outbox:
        """The gate that every answer passes on its way out, whichever engine carries it."""
        shapes, latent = self._work.shared_shapes, self._run.config.model.latent
        least, cipher = self._settings.latents_of, self._cipher
        return Outbox(self.name, self._run.path, shapes=shapes, latent=latent, minimum=least, cipher=cipher)

    def answer(self, task: Task) -> Answer:
        """Do what a task asks for, and return the answer.

        Raises:
          InputError: the task does not fit what the site is doing.
          FloatingPointError: a loss or gradient is not finite; no state after it is kept.
        """
        if self._guard is not None:
            self._guard.admit(task)
        return _ANSWERS[task.kind](self, task)

    def _begin(self, task: Task) -> Answer:
        if self._guard is None or not self._guard.has_just_begun(task):  # else the first answer was lost on its way
            self._open_stage(task)
        if self._guard is not None:
            self._guard.note_begun(task)
        return Answer(SiteUpdate(self.name, task.stage, task.round, self._work.count_volumes()), {})

    def _open_stage(self, task: Task) -> None:
        """Restore the state of a task's round, or the last one before it, and assign the task's weights."""
        self._check_not_of_an_earlier_run(task)
        stage = self._work.begin(task.stage, task.distribution)
        opened = OpenStage(self._run, task.stage, objects=stage.objects, watched=stage, at=task.round)
        if opened.done < task.round:
            text = "%s, %s: goes on from its own state of round %d, as it has none of round %d"
            logging.warning(text, self.name, task.stage, opened.done, task.round)
        self._stage, self._open, self._given, self._held, self._at_end = stage, opened, 0, opened.done, False
        try:
            self._receive(task)
        except InputError:
            self._stage = self._open = None
            raise

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
        kept = self._guard.find_round(task) if self._guard is not None else None
        if kept is not None:
            self._pay(ROUND_SHARE, task, kept)
        if kept is not None and self._open is not None and task.round < self._open.done:
            return kept
        stage, opened = self._receive(task)
        self._stage = self._open = None  # until the step is known to be finite, so that nothing after it is kept
        # A round that was answered before a crash moves this site's own latents again, and its answer is the same.
        losses, gradients = stage.shared_gradients(task.round, stage.seeds.rng(task.round))
        added = opened.add(task.round, losses)
        if kept is None:
            self._pay(ROUND_SHARE, task)
        answer = kept or self._make_answer(task, stage, losses=added, gradients=gradients)
        if self._guard is not None:
            self._guard.note_given(task, answer, is_new=kept is None)
        self._stage, self._open = stage, opened
        self._given += 1
        return answer

    def _make_answer(self, task: Task, stage: SharedStage, *, losses: Losses, gradients: SharedGradients) -> Answer:
        """Return the answer to a round, with gradients and losses as they may leave."""
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
        told = {name: value for name, value in losses.items() if name != VALIDATION_ERROR}
        return Answer(update, privatize_losses(told, multiplier=self._settings.noise_multiplier))

    def _pay(self, share: float, task: Task, kept: Answer | None = None) -> None:
        """Count an answer in the budget before it leaves: a new one, or one that was kept and has not been counted.

        Answers that an earlier process has kept may never have left, so that its record does not count them.
        """
        if kept is not None and self._guard is not None and self._guard.is_paid_for(task, kept):
            return
        if self._budget is not None:
            self._budget.spend(share)
        if kept is not None and self._guard is not None:
            self._guard.note_paid(task, kept)

    def _keep(self, task: Task) -> Answer:
        _, opened = self._receive(task)
        opened.save()
        if self._guard is not None:
            self._guard.note_kept(task.stage, opened.kept)
        return self._acknowledge(task)

    def _end(self, task: Task) -> Answer:
        under_way = self._open is not None and self._open.name == task.stage
        if not under_way:
            self._open_stage(task)  # an earlier start has ended it, but later stages need its state
        _, opened = self._receive(task)
        if under_way or self._run.finished(task.stage) is None:
            opened.save()
            self._account_for(task.stage, least=self._given)
            opened.finish(moved=opened.moved)
        self._at_end = opened.done == task.round
        self._stage = self._open = None
        if self._guard is not None:
            self._guard.note_ended()
        return self._acknowledge(task)

    def _account_for(self, stage: str, *, least: int = 0) -> None:
        """Log and record the epsilon of all that was sent so far, where it carries noise."""
        if self._settings.noise_multiplier:
            spent = write_account(self._run.path, self._settings, stage=stage, least=least)
            logging.info("%s, %s: epsilon %.2f so far, at delta %g", self.name, stage, spent, DELTA)

    def _work_alone(self, task: Task) -> Answer:
        self._account_for(task.stage)  # moments that were given since the last stage are part of it
        self._work.work_alone(task.stage, task.distribution)
        if self._guard is not None:
            self._guard.note_worked(task.stage)
        return self._acknowledge(task)

    def _measure_latents(self, task: Task) -> Answer:
        which = ALL if task.with_unlabelled else ANNOTATED  # what was asked for, whatever of it the site has
        kept = self._guard.find_moments(which) if self._guard is not None else None
        answer = kept or self._make_moments(task)
        if answer is None or not self._can_pay_for_moments(task, kept):
            return self._acknowledge(task)
        if self._guard is not None and kept is None:
            self._guard.note_moments(which, task, answer)
        return answer

    def _can_pay_for_moments(self, task: Task, kept: Answer | None) -> bool:
        """Count moments in the budget and return whether it has enough left; the site can go on without them."""
        try:
            self._pay(MOMENTS_SHARE, task, kept)
        except InputError as error:
            logging.warning("%s sends no moments of latents: %s", self.name, error)
            return False
        return True

    def _make_moments(self, task: Task) -> Answer | None:
        """Return moments as they may leave; None if there are none."""
        found = self._choose_moments(with_unlabelled=task.with_unlabelled)
        if found is None or (self._guard is not None and not self._at_end):
            why = "none of its latents were learnt to the end, or so few that their moments would give single ones away"
            logging.warning("%s sends no moments of latents: %s", self.name, why)
            return None
        sent = privatize_moments(found, bound=self._longest_latent, multiplier=self._settings.noise_multiplier)
        return Answer(SiteUpdate(self.name, task.stage, task.round, sent.count, latents=sent), {})

    @property
    def _longest_latent(self) -> float:
        """Return the length that latents have at most in moments with noise; 0 without noise: any."""
        settings = self._settings
        return settings.clip_latents * math.sqrt(self._run.config.model.latent) if settings.noise_multiplier else 0.0

    def _choose_moments(self, *, with_unlabelled: bool) -> LatentStatistics | None:
        """Return moments that give no single latent away, neither alone nor as a difference; None if there are none."""
        least = self._settings.latents_of
        measure = functools.partial(self._work.measure_latents, largest_norm=self._longest_latent)
        labelled = measure(with_unlabelled=False)
        found = measure(with_unlabelled=True) if with_unlabelled else labelled
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
        learner = self._stage.learner
        check_shared_weights(learner, task.weights, site=self.name)
        if self._guard is not None:
            held = dict(zip(learner.shared_names, (one.numpy() for one in learner.shared_variables), strict=True))
            self._guard.check_move(task, held, since=self._held)
        for name, variable in zip(learner.shared_names, learner.shared_variables, strict=True):
            variable.assign(task.weights[name])
        self._held = task.round
        return self._stage, self._open


_ANSWERS = {
    BEGIN: Site._begin,
    GRADIENTS: Site._compute_gradients,
    KEEP: Site._keep,
    END: Site._end,
    ALONE: Site._work_alone,
    LATENTS: Site._measure_latents,
}


def check_shared_weights(learner: SharedLearner, weights: Arrays, *, site: str) -> None:
    """Check that weights that the server has sent are values of a learner's shared variables.

    Args:
      learner: the learner.
      weights: values by name.
      site: the site's name, for the message.

    Raises:
      InputError: the names are not those of the shared variables, or a value is not finite or of another shape or type.
    """
    names, variables = learner.shared_names, learner.shared_variables
    if sorted(weights) != sorted(names):
        raise InputError(f"weights for {site}", found=sorted(weights), expected=sorted(names))
    for name, variable in zip(names, variables, strict=True):
        value = weights[name]
        if value.dtype != np.float32:
            raise InputError(f"weights {name} for {site}", found=value.dtype, expected="float32")
        if value.shape != tuple(variable.shape) or not np.all(np.isfinite(value)):
            raise InputError(
                f"weights {name} for {site}",
                found=f"shape {value.shape} with values from {value.min()} to {value.max()}",
                expected=f"finite values of shape {tuple(variable.shape)}",
            )
