"""The server's part of a federated run: which task comes when, and what is done with the answers (section 2.3)."""

from __future__ import annotations

import collections
import statistics
from collections.abc import Callable, Mapping, Sequence

from absl import logging

from fedsim_tf.errors import InputError, RunStopped
from fedsim_tf.federated.message import check_losses, of_task
from fedsim_tf.federated.server import Server, pooled_distribution
from fedsim_tf.federated.task import ALONE, BEGIN, END, GRADIENTS, KEEP, LATENTS, Answer, Exchange, Task
from fedsim_tf.federated.update import Arrays, SiteUpdate, check_against
from fedsim_tf.federated.wire_record import BROADCAST, EVERYONE, WireRecord
from fedsim_tf.files import append_rows
from fedsim_tf.models.latents import LatentDistribution
from fedsim_tf.progress import progress_bar
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.stage import OpenStage
from fedsim_tf.training.watch import Look, rates

REFUSED = "refused.csv"
_PAST = 10  # rounds


class QuorumLost(RunStopped):
    """Too few sites gave an update that can be used."""


class Paused(RunStopped):
    """A state was kept, and the engine wants to go on from it with a new job."""


class Coordinator:
    """Runs stages over sites, whatever engine carries tasks and answers.

    A stage's state is kept by the server after every site has kept its own: whatever is killed between the two, the
    sites still have what the server begins with the next time.

    Args:
      run: the server's folder; its configuration says how many answers a round needs and when they are refused.
      exchange: asks all sites; see `Exchange`.
      sites: their names. Gradients are added up in this order, so that engines agree to the last digit.
      pauses: asked whenever a state was kept: whether to stop there.

    Attributes:
      lacking: the sites without a usable answer to the last task.
    """

    def __init__(
        self, run: RunFolder, exchange: Exchange, sites: Sequence[str], *, pauses: Callable[[], bool] = lambda: False
    ):
        self._run, self._exchange, self._sites, self._pauses = run, exchange, list(sites), pauses
        settings = run.config.federated
        self._quorum = settings.quorum or len(self._sites)
        self._record = WireRecord(run.path, BROADCAST)
        self._norms, self._latent = Norms(settings.largest_norm), run.config.model.latent
        self.lacking: list[str] = []

    def rounds(
        self,
        stage: str,
        weights: Arrays,
        *,
        rate: float,
        steps: int,
        accumulate: str,
        distribution: LatentDistribution | None = None,
    ) -> Arrays:
        """Rounds of one stage: every site's gradients, one step at the server, the new weights to every site.

        Args:
          stage: its name.
          weights: the shared weights before it.
          rate, steps, accumulate: see `Server`.
          distribution: from which sites draw new latents before the first round.

        Returns:
          The shared weights after it.

        Raises:
          QuorumLost: too few sites gave an update that can be used.
          Paused: the engine wanted to stop after a state was kept.
        """
        server = Server(weights, rate=rate, steps=steps, accumulate=accumulate)
        watched = _Watched(server)
        opened = OpenStage(self._run, stage, objects={"server": server}, watched=watched)
        ended = opened.done == steps and self._run.finished(stage) is not None
        if opened.done < steps:
            self._ask(Task(BEGIN, stage, opened.done, server.weights, distribution))
        with progress_bar(steps, stage, done=opened.done, unit="round") as bar:
            while opened.done < steps:
                answers = self._ask(Task(GRADIENTS, stage, opened.done, server.weights), of=server.weights)
                updates = [answer.update for answer in answers]
                watched.gradient_norms = {update.site: update.norm for update in updates}
                server.step(updates)
                bar.set_postfix(opened.add(opened.done, _losses(answers)), refresh=False)
                bar.update()
                if opened.done % self._run.config.checkpoint_every == 0 and opened.done < steps:
                    self._ask(Task(KEEP, stage, opened.done, server.weights))
                    opened.save()
                    self._pause(opened)
        self._ask(Task(END, stage, steps, server.weights))
        if not ended:
            opened.save()
            opened.finish()
            self._pause(opened)
        return server.weights

    def alone(self, work: str, distribution: LatentDistribution | None = None) -> None:
        """Work that each site does without the others."""
        self._ask(Task(ALONE, work, distribution=distribution))

    def latent_distribution(self, *, with_unlabelled: bool) -> LatentDistribution:
        """The normal over all sites' latents; sites give their moments only."""
        answers = self._ask(Task(LATENTS, with_unlabelled=with_unlabelled))
        moments = [answer.update.latents for answer in answers if answer.update.latents is not None]
        if not moments:
            raise InputError("latents", found="no site that gives moments", expected="at least one: see latents_of")
        return pooled_distribution(moments)

    def _pause(self, opened: OpenStage) -> None:
        if self._pauses():
            raise Paused(
                f"{opened.name}, round {opened.done}: stopped to go on from here with all sites that are there"
            )

    def _ask(self, task: Task, *, of: Arrays | None = None) -> list[Answer]:
        """The answers that can be used, in the order of the sites; `of`: the weights whose gradients were asked for."""
        self._record.note(EVERYONE, of_task(task))
        received, missing = self._exchange(task)
        refused = dict(missing)
        for update, losses in received:
            try:
                check_against(update, of or {}, stage=task.stage, round_number=task.round, latent=self._latent)
                check_losses(losses, of=update.site)
            except InputError as error:
                refused[update.site] = str(error)
        usable = [answer for answer in received if answer.update.site not in refused]
        refused |= self._norms.beyond([answer.update for answer in usable])
        usable = [answer for answer in usable if answer.update.site not in refused]
        self._note(task, refused)
        self.lacking = sorted(refused)
        if len(usable) < self._quorum:
            raise QuorumLost(
                f"{task.stage or task.kind}, round {task.round}: answers that can be used from {len(usable)} of "
                f"{len(self._sites)} sites, {self._quorum} are needed (--federated_quorum; "
                f"{'; '.join(refused.values())}); "
                "the last state is kept, the same command again resumes from it"
            )
        return sorted(usable, key=lambda answer: self._sites.index(answer.update.site))

    def _note(self, task: Task, refused: Mapping[str, str]) -> None:
        if refused:
            rows = [(task.kind, task.stage, task.round, site, reason) for site, reason in refused.items()]
            append_rows(self._run.path / REFUSED, ("task", "stage", "round", "site", "reason"), rows)
            for site, reason in refused.items():
                logging.warning("%s, round %d: without %s: %s", task.stage or task.kind, task.round, site, reason)


class Norms:
    """Tells gradients whose norm is far beyond what is usual: accidents, not attackers who know of it.

    What is usual is the median of the other sites' norms in the round. Of two sites nobody can tell which is odd, and
    of one there are no others: there it is the median of the site's own last rounds.

    Args:
      largest: how many times what is usual a norm may be; 0: any.
    """

    def __init__(self, largest: float):
        self._largest = largest
        self._past: dict[tuple[str, str], collections.deque[float]] = {}

    def beyond(self, updates: Sequence[SiteUpdate]) -> dict[str, str]:
        """The sites whose gradients are, with the reason."""
        found = {}
        given = [update for update in updates if update.gradients]
        norms = {update.site: update.norm for update in given}  # once each: there may be many sites
        for site, stage in ((update.site, update.stage) for update in given):
            norm, past = norms[site], self._past.setdefault((site, stage), collections.deque(maxlen=_PAST))
            whose, usual = _usual([other for name, other in norms.items() if name != site], past)
            if self._largest and usual and norm > self._largest * usual:
                found[site] = (
                    f"gradients of {site}: found norm {norm:.3g}; expected at most {self._largest:g} times the "
                    f"median of {whose}, {usual:.3g} (--federated_largest_norm)"
                )
            else:
                past.append(norm)
        return found


def _usual(others: Sequence[float], past: Sequence[float]) -> tuple[str, float]:
    """Whose norms say what is usual, and their median; 0 where nothing does yet."""
    if len(others) > 1:
        return "the other sites'", statistics.median(others)
    return "its own last", statistics.median(past) if len(past) == _PAST else 0.0


def _losses(answers: Sequence[Answer]) -> dict[str, float]:
    return {f"{answer.update.site}/{key}": value for answer in answers for key, value in answer.losses.items()}


class _Watched:
    """What the server shows of a stage beside the sites' losses."""

    def __init__(self, server: Server):
        self._server = server
        self.gradient_norms: dict[str, float] = {}

    def look(self) -> Look:
        return Look(rates(shared=self._server.optimizer))
