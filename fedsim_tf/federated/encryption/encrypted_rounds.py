"""The server's part of rounds whose gradients it cannot read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fedsim_tf.federated.coordinator import Coordinator, name_losses
from fedsim_tf.federated.encryption.sum_cipher import SumCipher
from fedsim_tf.federated.task import BEGIN, END, GRADIENTS, KEEP, Exchange, Task
from fedsim_tf.federated.update import Arrays, SiteUpdate
from fedsim_tf.models.latents import LatentDistribution
from fedsim_tf.progress import progress_bar
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.stage import OpenStage


class EncryptedCoordinator(Coordinator):
    """A `Coordinator` that adds up ciphertexts and hands the sum back; sites move the weights, which it does not have.

    Args:
      run, exchange, sites, should_pause: see `Coordinator`.
      cipher: without the key.
    """

    def __init__(
        self,
        run: RunFolder,
        exchange: Exchange,
        sites: Sequence[str],
        cipher: SumCipher,
        *,
        should_pause: Callable[[], bool] = lambda: False,
    ):
        super().__init__(run, exchange, sites, should_pause=should_pause)
        self._cipher, self._count = cipher, 0

    def run_rounds(
        self,
        stage: str,
        weights: Arrays,
        *,
        rate: float,
        steps: int,
        accumulate: str,
        distribution: LatentDistribution | None = None,
    ) -> Arrays:
        """Run the rounds of a stage; see `Coordinator.run_rounds`.

        Rate and accumulation are the sites' business here, which have them from the same configuration.

        Args:
          weights: the first weights of the first stage, which are no secret; {} goes on from those that sites have.

        Returns:
          {}: the weights are at the sites alone.
        """
        self._count = sum(value.size for value in weights.values()) or self._count
        opened = OpenStage(self._run, stage, objects={})
        ended = opened.done == steps and self._run.finished(stage) is not None
        if opened.done < steps:
            self._ask(Task(BEGIN, stage, opened.done, weights, distribution))
        total: Arrays = {}
        with progress_bar(steps, stage, done=opened.done, unit="round") as bar:
            while opened.done < steps:
                answers = self._ask(Task(GRADIENTS, stage, opened.done, encrypted=total))
                total = self._cipher.add([answer.update.encrypted for answer in answers])
                bar.set_postfix(opened.add(opened.done, name_losses(answers)), refresh=False)
                bar.update()
                if opened.done % self._run.config.checkpoint_every == 0 and opened.done < steps:
                    self._ask(Task(KEEP, stage, opened.done, encrypted=total))
                    total = {}
                    opened.save()
                    self._pause(opened)
        self._ask(Task(END, stage, steps, encrypted=total))
        if not ended:
            opened.save()
            opened.finish()
            self._pause(opened)
        return {}

    def _check(self, update: SiteUpdate, task: Task, weights: Arrays) -> None:
        super()._check(update, task, weights)
        if task.kind == GRADIENTS:
            self._cipher.check(update.encrypted, count=self._count, of=update.site)
