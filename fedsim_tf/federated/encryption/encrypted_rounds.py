"""The server's part of rounds whose gradients it cannot read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from fedsim_tf.federated.coordinator import Coordinator
from fedsim_tf.federated.encryption.encrypted_moments import list_moment_shapes
from fedsim_tf.federated.encryption.sum_cipher import SumCipher
from fedsim_tf.federated.rounds import Rounds
from fedsim_tf.federated.task import BEGIN, GRADIENTS, LATENTS, NO_LATENTS, Exchange, PooledLatents, Task
from fedsim_tf.federated.update import Arrays, SiteUpdate
from fedsim_tf.training.run import RunFolder


class EncryptedRounds:
    """Rounds whose gradients the server adds up without reading them: tasks bring the sum, and sites take the step.

    Args:
      first_weights: the first weights of the first stage, which are no secret; {} goes on from those that sites have.
      cipher: without the key.
    """

    watched = None

    def __init__(self, first_weights: Arrays, cipher: SumCipher):
        self.objects: dict[str, tf.Module] = {}
        self._first_weights, self._cipher = first_weights, cipher
        self._total: Arrays = {}

    @property
    def weights(self) -> Arrays:
        """None: they are at the sites alone."""
        return {}

    def task(self, kind: str, stage: str, round_number: int, latents: PooledLatents = NO_LATENTS) -> Task:
        """Return a task with the sum of the last round, until every site has kept what its step came to."""
        first_weights = self._first_weights if kind == BEGIN else {}
        return Task(
            kind, stage, round_number, first_weights, encrypted=self._total, encrypted_latents=latents.encrypted
        )

    def take(self, updates: Sequence[SiteUpdate]) -> None:
        """Add up the answers' gradients."""
        self._total = self._cipher.add([update.encrypted for update in updates])

    def kept(self) -> None:
        """Forget the sum, whose step every site has taken."""
        self._total = {}


class EncryptedCoordinator(Coordinator):
    """A `Coordinator` that adds up ciphertexts and hands sums back; sites move the weights and pool latents.

    Its `run_rounds` returns {}. Rate and accumulation are the sites' business, which have them from the same
    configuration.

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

    def _open_rounds(self, weights: Arrays, *, rate: float, steps: int, accumulate: str) -> Rounds:
        del rate, steps, accumulate
        self._count = sum(value.size for value in weights.values()) or self._count
        return EncryptedRounds(weights, self._cipher)

    def _pool(self, updates: Sequence[SiteUpdate]) -> PooledLatents | None:
        encrypted = [update.encrypted for update in updates if update.encrypted]
        return PooledLatents(encrypted=self._cipher.add(encrypted)) if encrypted else None

    def _check(self, update: SiteUpdate, task: Task) -> None:
        super()._check(update, task)
        if task.kind == GRADIENTS:
            self._cipher.check(update.encrypted, count=self._count, of=update.site)
        elif task.kind == LATENTS and update.encrypted:  # a site may have none that it can give
            count = sum(math.prod(shape) for shape in list_moment_shapes(self._latent).values())
            self._cipher.check(update.encrypted, count=count, of=update.site)
