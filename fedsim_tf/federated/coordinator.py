"""The server's part of a federated run: it decides on the tasks and uses the answers (section 2.3)."""

from __future__ import annotations

import collections
import statistics
from collections.abc import Callable, Sequence

from fedsim_tf.errors import InputError, RunStopped
from fedsim_tf.federated.adam_reach import measure_latent_reach
from fedsim_tf.federated.message import check_losses, task_to_message
from fedsim_tf.federated.moments_check import MomentsCheck
from fedsim_tf.federated.refusals import note_refused
from fedsim_tf.federated.rounds import ReadableRounds, Rounds
from fedsim_tf.federated.server import Server, pool_moments
from fedsim_tf.federated.task import (
    ALONE,
    BEGIN,
    END,
    GRADIENTS,
    KEEP,
    LATENTS,
    NO_LATENTS,
    Answer,
    Exchange,
    PooledLatents,
    Task,
)
from fedsim_tf.federated.update import Arrays, SiteUpdate, check_against
from fedsim_tf.federated.wire_record import BROADCAST, EVERYONE, WireRecord
from fedsim_tf.progress import progress_bar
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.stage import OpenStage

_PAST = 10  # rounds of a site after which its own norms say what is usual


class QuorumLost(RunStopped):
    """A run that stops because too few sites have given an answer that can be used."""


class Paused(RunStopped):
    """A run that stops after a checkpoint, because the engine wants to go on from it with a new job."""


class Coordinator:
    """The part of the server that runs stages over all sites, whichever engine carries tasks and answers.

    The server writes its checkpoint after every site has written its own. If a process is killed between the two, the
    sites still have the state with which the server begins the next time.

    Args:
      run: the server's folder; its configuration says how many answers a round needs and which are refused.
      exchange: gives a task to all sites; see `Exchange`.
      sites: names of the sites. Gradients are added up in this order, so that engines agree to the last digit.
      should_pause: is asked after each checkpoint whether to stop there.

    Attributes:
      lacking: the sites that gave no usable answer to the last task.
    """

    def __init__(
        self,
        run: RunFolder,
        exchange: Exchange,
        sites: Sequence[str],
        *,
        should_pause: Callable[[], bool] = lambda: False,
    ):
        self._run, self._exchange, self._sites, self._should_pause = run, exchange, list(sites), should_pause
        settings = run.config.federated
        self._quorum = settings.quorum or len(self._sites)
        self._record = WireRecord(run.path, BROADCAST)
        self._norm_check, self._latent = NormCheck(settings.largest_norm), run.config.model.latent
        reach = measure_latent_reach(run.config)
        self._moments_check = MomentsCheck(run.path, reach=reach, largest=settings.largest_moments)
        self.lacking: list[str] = []

    def run_rounds(
        self,
        stage: str,
        weights: Arrays,
        *,
        rate: float,
        steps: int,
        accumulate: str,
        latents: PooledLatents = NO_LATENTS,
    ) -> Arrays:
        """Run the rounds of a stage; an earlier start's are resumed.

        In a round every site computes gradients at the shared weights, and the server takes one step with them.

        Args:
          stage: name of the stage.
          weights: the shared weights before the stage, by name.
          rate, steps, accumulate: see `Server`.
          latents: what sites draw new latents from before the first round.

        Returns:
          The shared weights after the stage, by name.

        Raises:
          QuorumLost: too few sites have given an answer that can be used.
          Paused: the engine has asked to stop after a checkpoint.
        """
        rounds = self._open_rounds(weights, rate=rate, steps=steps, accumulate=accumulate)
        opened = OpenStage(self._run, stage, objects=rounds.objects, watched=rounds.watched)
        ended = opened.done == steps and self._run.finished(stage) is not None
        if opened.done < steps:
            self._ask(rounds.task(BEGIN, stage, opened.done, latents))
        with progress_bar(steps, stage, done=opened.done, unit="round") as bar:
            while opened.done < steps:
                answers = self._ask(rounds.task(GRADIENTS, stage, opened.done))
                rounds.take([answer.update for answer in answers])
                bar.set_postfix(opened.add(opened.done, name_losses(answers)), refresh=False)
                bar.update()
                if opened.is_due() and opened.done < steps:
                    self._ask(rounds.task(KEEP, stage, opened.done))
                    rounds.kept()
                    opened.save()
                    self._pause(opened)
        self._ask(rounds.task(END, stage, steps))
        if not ended:
            opened.save()
            opened.finish()
            self._pause(opened)
        return rounds.weights

    def _open_rounds(self, weights: Arrays, *, rate: float, steps: int, accumulate: str) -> Rounds:
        """Return what a stage's rounds do with answers; arguments as of `run_rounds`."""
        robust = self._run.config.federated.robust
        return ReadableRounds(Server(weights, rate=rate, steps=steps, accumulate=accumulate, robust=robust))

    def work_alone(self, work: str, latents: PooledLatents = NO_LATENTS) -> None:
        """Let each site do some work in which no other has a part; `latents`: what it may draw from for it."""
        self._ask(Task(ALONE, work, distribution=latents.distribution, encrypted_latents=latents.encrypted))

    def pool_latents(self, *, with_unlabelled: bool) -> PooledLatents:
        """Return the normal distribution over all sites' latents, of which sites give the moments only.

        Args:
          with_unlabelled: whether latents of unannotated volumes are included.

        Raises:
          InputError: no site gives moments.
        """
        answers = self._ask(Task(LATENTS, with_unlabelled=with_unlabelled))
        pooled = self._pool([answer.update for answer in answers])
        if pooled is None:
            expected = "at least one; federated.latents_of may be larger than every site's number of volumes"
            raise InputError("latents", found="no site that gives moments", expected=expected)
        return pooled

    def _pool(self, updates: Sequence[SiteUpdate]) -> PooledLatents | None:
        """Return what the sites' moments come to; None where no site gives any."""
        moments = [update.latents for update in updates if update.latents is not None]
        return PooledLatents(pool_moments(moments)) if moments else None

    def _pause(self, opened: OpenStage) -> None:
        if self._should_pause():
            raise Paused(
                f"{opened.name}, round {opened.done}: stopped to go on from here with all sites that are there"
            )

    def _ask(self, task: Task) -> list[Answer]:
        """Give a task to all sites, and return the answers that can be used, in the order of the sites."""
        self._record.note(EVERYONE, task_to_message(task))
        received, missing = self._exchange(task)
        refused = dict(missing)
        for update, losses in received:
            try:
                self._check(update, task)
                check_losses(losses, of=update.site)
            except InputError as error:
                refused[update.site] = str(error)
        usable = [answer for answer in received if answer.update.site not in refused]
        if task.kind == BEGIN:
            self._moments_check.register([answer.update for answer in usable])
        refused |= self._norm_check.find_outliers([answer.update for answer in usable])
        refused |= self._moments_check.find_outliers([answer.update for answer in usable])
        usable = [answer for answer in usable if answer.update.site not in refused]
        note_refused(self._run.path, task, refused)
        self.lacking = sorted(refused)
        if len(usable) < self._quorum:
            raise QuorumLost(
                f"{task.stage or task.kind}, round {task.round}: answers that can be used from {len(usable)} of "
                f"{len(self._sites)} sites, {self._quorum} are needed (federated.quorum; "
                f"{'; '.join(refused.values())}); "
                "the last state is kept, the same command again resumes from it"
            )
        return sorted(usable, key=lambda answer: self._sites.index(answer.update.site))

    def _check(self, update: SiteUpdate, task: Task) -> None:
        """Refuse an update that does not answer a task, with an InputError."""
        weights = task.weights if task.kind == GRADIENTS else {}
        check_against(update, weights, stage=task.stage, round_number=task.round, latent=self._latent)


class NormCheck:
    """A check for gradients whose norm is far beyond the usual one; it finds accidents, not attackers who know it.

    The usual norm is the median of the other sites' norms in the round. Between two sites nobody could tell which is
    odd, so where there are fewer than two others it is the median of the site's own last ten rounds.

    Args:
      largest: how many times the usual norm is still accepted; 0: any norm is.
    """

    def __init__(self, largest: float):
        self._largest = largest
        self._past: dict[tuple[str, str], collections.deque[float]] = {}

    def find_outliers(self, updates: Sequence[SiteUpdate]) -> dict[str, str]:
        """Return the sites whose gradients are refused, with the reason, and remember the norms of the others."""
        found = {}
        given = [update for update in updates if update.gradients]
        norms = {update.site: update.norm for update in given}  # once each: there may be many sites
        for site, stage in ((update.site, update.stage) for update in given):
            norm, past = norms[site], self._past.setdefault((site, stage), collections.deque(maxlen=_PAST))
            whose, usual = _find_usual([other for name, other in norms.items() if name != site], past)
            if self._largest and usual and norm > self._largest * usual:
                found[site] = (
                    f"gradients of {site}: found norm {norm:.3g}; expected at most {self._largest:g} times the "
                    f"median of {whose}, {usual:.3g} (federated.largest_norm)"
                )
            else:
                past.append(norm)
        return found


def _find_usual(others: Sequence[float], past: Sequence[float]) -> tuple[str, float]:
    """Return whose norms say what is usual, and their median; 0 while there are too few."""
    if len(others) > 1:
        return "the other sites'", statistics.median(others)
    return "its own last", statistics.median(past) if len(past) == _PAST else 0.0


def name_losses(answers: Sequence[Answer]) -> dict[str, float]:
    """Return all sites' losses of a round as "site/loss"."""
    return {f"{answer.update.site}/{key}": value for answer in answers for key, value in answer.losses.items()}
