"""What the server does with the answers of a stage's rounds, and what its tasks hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import tensorflow as tf

from fedsim_tf.federated.server import Server
from fedsim_tf.federated.task import NO_LATENTS, PooledLatents, Task
from fedsim_tf.federated.update import Arrays, SiteUpdate
from fedsim_tf.training.stage import Watched
from fedsim_tf.training.watch import Look, rates


class Rounds(Protocol):
    """The server's side of the rounds of one stage.

    Attributes:
      objects: what a checkpoint of the server holds, by name.
      watched: what TensorBoard shows beside the sites' losses; None: nothing.
      weights: the shared weights as they are now, by name; {} where the server does not have them.
    """

    objects: dict[str, tf.Module]

    @property
    def watched(self) -> Watched | None: ...

    @property
    def weights(self) -> Arrays: ...

    def task(self, kind: str, stage: str, round_number: int, latents: PooledLatents = NO_LATENTS) -> Task:
        """Return a task of a round, with what sites need for it; `latents`: what they draw new ones from."""
        ...

    def take(self, updates: Sequence[SiteUpdate]) -> None:
        """Use the answers of a round."""
        ...

    def kept(self) -> None:
        """Note that every site has kept its state, with the last step taken."""
        ...


class ReadableRounds:
    """Rounds whose gradients the server reads: it takes the optimizer's step, and tasks bring the weights.

    Args:
      server: takes the steps.
    """

    def __init__(self, server: Server):
        self._server = server
        self.objects: dict[str, tf.Module] = {"server": server}
        self.watched = _Watched(server)

    @property
    def weights(self) -> Arrays:
        """The shared weights, by name."""
        return self._server.weights

    def task(self, kind: str, stage: str, round_number: int, latents: PooledLatents = NO_LATENTS) -> Task:
        """Return a task with the weights."""
        return Task(kind, stage, round_number, self._server.weights, latents.distribution)

    def take(self, updates: Sequence[SiteUpdate]) -> None:
        """Take a step with the answers' gradients."""
        self.watched.gradient_norms = {update.site: update.norm for update in updates}
        self._server.step(updates)

    def kept(self) -> None:
        """Do nothing: each task brings the weights anew."""


class _Watched:
    """The values that TensorBoard shows of a stage at the server beside the sites' losses."""

    def __init__(self, server: Server):
        self._server = server
        self.gradient_norms: dict[str, float] = {}

    def look(self) -> Look:
        return Look(rates(shared=self._server.optimizer))
