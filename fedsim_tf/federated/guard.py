"""What a site checks of every task, so that a server that asks for more than the job says gets nothing for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.federated.adam_reach import measure_reach
from fedsim_tf.federated.ledger import Ledger
from fedsim_tf.federated.privacy import describe_noise
from fedsim_tf.federated.task import ALONE, BEGIN, END, GRADIENTS, KEEP, LATENTS, Answer, Task
from fedsim_tf.federated.update import Arrays
from fedsim_tf.models.latents import LatentDistribution
from fedsim_tf.training.run import CHECKPOINTS_KEPT, RunFolder

_LAST_DIGITS = 8 * float(np.finfo(np.float32).eps)  # relative
_ROUNDING = 1e-4  # relative error of a covariance that is put down to rounding
ANNOTATED, ALL = "annotated", "all"  # the latents that moments are of


class StagePlan(NamedTuple):
    """A shared stage as the job's configuration has it.

    Attributes:
      steps: its rounds.
      rate: Adam's rate for the shared weights at the server, which falls as `ConstantThenLinear` says.
      accumulate: "sum" or "mean" of the sites' gradients.
    """

    steps: int
    rate: float
    accumulate: str = "sum"


class Guard:
    """The checks of one site in one job, and its record of what it has answered.

    Rounds of a stage are answered in order, once each. What a crash repeats is answered by the answer that was kept.
    A stage is begun once in a job, after those before it have ended, and ends after as many rounds as planned.

    Args:
      site: the site's name.
      run: the site's folder of the fold.
      plan: the shared stages in their order.
      latent: length of a latent.
      latent_reach: the largest absolute value that a coordinate of a learnt latent can have.
      last_work: the work that the site does alone after all rounds; no answer to them is needed any more then.
    """

    def __init__(
        self,
        site: str,
        run: RunFolder,
        plan: Mapping[str, StagePlan],
        *,
        latent: int,
        latent_reach: float,
        last_work: str = "",
    ):
        self._site, self._run, self._plan, self._last_work = site, run, plan, last_work
        self._latent, self._latent_reach = latent, latent_reach
        self._ledger = Ledger(site, run.path, noise=describe_noise(run.config.federated))
        self._begun: set[str] = set()
        self._open, self._next = "", 0  # the stage under way and the round that comes next in it
        self._given = 0  # rounds since it has begun

    def admit(self, task: Task) -> None:
        """Check that a task is one that an honest server gives now.

        Raises:
          InputError: it is not; the message says what was expected.
        """
        if task.distribution is not None:
            self._check_distribution(task.distribution)
        if task.kind in (ALONE, LATENTS):
            return
        if task.stage not in self._plan:
            self._refuse(task, f"a stage that the job does not have; it has {', '.join(self._plan)}")
        if type(task.round) is not int:
            self._refuse(task, "a round that is no number")
        _CHECKS[task.kind](self, task, self._plan[task.stage].steps)

    def has_just_begun(self, task: Task) -> bool:
        """Return whether a task repeats the one that began the stage under way, before any of its rounds."""
        return task.kind == BEGIN and (task.stage, task.round) == (self._open, self._next) and not self._given

    def _check_begin(self, task: Task, steps: int) -> None:
        if self.has_just_begun(task):
            return
        if self._open or task.stage in self._begun:
            self._refuse(task, f"{self._open or task.stage} has begun in this job already")
        if not 0 <= task.round < steps:
            self._refuse(task, f"the stage has rounds 0 to {steps - 1}")
        self._check_order(task)

    def _check_order(self, task: Task) -> None:
        stages = list(self._plan)
        for before in stages[: stages.index(task.stage)]:
            if self._run.finished(before) is None:
                self._refuse(task, f"{before} comes before it")

    def _check_gradients(self, task: Task, steps: int) -> None:
        self._check_open(task)
        if not 0 <= task.round <= self._next or task.round >= steps:
            self._refuse(task, f"round {self._next} of {steps} is next")

    def _check_keep(self, task: Task, _: int) -> None:
        self._check_open(task)
        if task.round != self._next:
            self._refuse(task, f"{self._next} rounds are done")

    def _check_end(self, task: Task, steps: int) -> None:
        done = self._next if self._open == task.stage else steps  # a stage of an earlier job, or one that it missed
        if task.round != steps or done != steps:
            self._refuse(task, f"it ends after {steps} rounds")
        if self._open and self._open != task.stage:
            self._refuse(task, f"{self._open} is under way")
        self._check_order(task)

    def _check_open(self, task: Task) -> None:
        if self._open != task.stage:
            self._refuse(task, f"{BEGIN!r} comes before it")

    def note_begun(self, task: Task) -> None:
        """Note that a stage has begun; answers of the stages before it are not needed any more."""
        self._begun.add(task.stage)
        self._open, self._next, self._given = task.stage, task.round, 0
        stages = list(self._plan)
        for before in stages[: stages.index(task.stage)]:
            self._ledger.forget_stage(before)

    def find_round(self, task: Task) -> Answer | None:
        """Return the answer that was given to a round before; None if the round comes now.

        Raises:
          InputError: the round's turn is over, and its answer is not kept.
        """
        kept = self._ledger.find_round(task.stage, task.round)
        if kept is None and task.round < self._next:
            self._refuse(task, f"round {self._next} is next")
        return kept

    def is_paid_for(self, task: Task, answer: Answer) -> bool:
        """Return whether an answer that was kept is known to the account, or was made or paid for in this process."""
        return self._ledger.is_paid_for(task, answer)

    def note_paid(self, task: Task, answer: Answer) -> None:
        """Note that the budget has counted an answer that was kept."""
        self._ledger.note_paid(task, answer)

    def note_given(self, task: Task, answer: Answer, *, is_new: bool) -> None:
        """Note the answer to a round, which may leave once this has returned."""
        if is_new:
            self._ledger.keep_round(task, answer)
        self._next, self._given = task.round + 1, self._given + 1

    def note_kept(self, stage: str, steps: Sequence[int]) -> None:
        """Delete answers that no begin can ask for again; `steps`: those of the states that the site has, last first.

        With one state alone the site may still have to begin anew: the server may not have kept its own.
        """
        if len(steps) >= CHECKPOINTS_KEPT:
            self._ledger.forget_rounds(stage, before=min(steps))

    def note_ended(self) -> None:
        """Note that the stage under way has ended."""
        self._open = ""

    def note_worked(self, work: str) -> None:
        """Note that the site has done some work alone."""
        if work == self._last_work:
            for stage in self._plan:
                self._ledger.forget_stage(stage)

    def find_moments(self, which: str) -> Answer | None:
        """Return the moments that were given when `ANNOTATED` or `ALL` latents were asked for; None if none were."""
        return self._ledger.find_moments(which)

    def note_moments(self, which: str, task: Task, answer: Answer) -> None:
        """Keep moments, which may leave once this has returned."""
        self._ledger.keep_moments(which, task, answer)

    def check_move(self, task: Task, held: Arrays, *, since: int) -> None:
        """Check that the server's optimizer can have made the weights of a task.

        That bounds their norm too: what a site begins with is its own, and each round adds a bounded step.

        Args:
          task: the task; names and shapes of its weights are right.
          held: the weights that the site has, by name.
          since: after how many rounds of the stage these were sent.

        Raises:
          InputError: a weight has moved by more than Adam's steps since then can move it.
        """
        plan = self._plan[task.stage]
        reach = measure_reach(plan.rate, plan.steps, first=since, last=task.round)
        rounds = max(task.round - since, 1)
        for name, value in task.weights.items():
            moved = np.abs(value.astype(np.float64) - held[name])
            # Each step is rounded, and processors draw first values that differ in their last digits.
            excess = moved - rounds * _LAST_DIGITS * np.maximum(np.abs(value), np.abs(held[name]))
            if moved.size and excess.max() > reach:
                raise InputError(
                    f"weights {name} for {self._site}",
                    found=f"a move by {moved.max():.3g} in {task.round - since} rounds of {task.stage}",
                    expected=f"at most {reach:.3g}, which Adam can make of a rate of {plan.rate:g}",
                )

    def _check_distribution(self, distribution: LatentDistribution) -> None:
        """Refuse a normal that no learnt latents can have.

        Each coordinate of a latent lies within the reach r. So does that of a mean, and the unbiased variance of n
        such values is n / (n - 1) r^2 at most.
        """
        subject, length, reach = f"normal of latents for {self._site}", self._latent, self._latent_reach
        mean, covariance = distribution.mean, distribution.covariance
        if mean.shape != (length,) or covariance.shape != (length, length):
            found = f"shapes {mean.shape} and {covariance.shape}"
            raise InputError(subject, found=found, expected=f"shapes ({length},) and ({length}, {length})")
        if mean.dtype.kind != "f" or covariance.dtype.kind != "f":
            raise InputError(subject, found=f"{mean.dtype} and {covariance.dtype}", expected="floating-point numbers")
        if not (np.all(np.isfinite(mean)) and np.all(np.isfinite(covariance))):
            raise InputError(subject, found="NaN or infinity", expected="finite values")
        largest = max(np.abs(mean).max(), np.sqrt(np.abs(covariance).max() / 2))
        if largest > reach:
            expected = f"at most {reach:.3g}, which the job's rates can make"
            raise InputError(subject, found=f"latents of size {largest:.3g}", expected=expected)
        size = float(np.abs(covariance).max())
        if np.abs(covariance - covariance.T).max() > _ROUNDING * size:
            raise InputError(subject, found="a covariance that is not symmetric", expected="a symmetric one")
        if np.linalg.eigvalsh(covariance).min() < -_ROUNDING * size:
            raise InputError(subject, found="a negative variance", expected="a covariance")

    def _refuse(self, task: Task, expected: str) -> None:
        found = f"{task.kind!r} at round {task.round} of {task.stage}"
        raise InputError(f"task for {self._site}", found=found, expected=f"an honest server's: {expected}")


_CHECKS = {
    BEGIN: Guard._check_begin,
    GRADIENTS: Guard._check_gradients,
    KEEP: Guard._check_keep,
    END: Guard._check_end,
}
