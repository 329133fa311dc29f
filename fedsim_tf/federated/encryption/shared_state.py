"""The shared weights and their optimizer at a site, where the server must not know them."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

from fedsim_tf.errors import InputError
from fedsim_tf.federated.encryption.encrypted_moments import arrays_to_moments, list_moment_shapes
from fedsim_tf.federated.encryption.sum_cipher import SumCipher
from fedsim_tf.federated.guard import StagePlan
from fedsim_tf.federated.server import Server
from fedsim_tf.federated.task import BEGIN, END, GRADIENTS, KEEP, Task
from fedsim_tf.federated.update import Arrays
from fedsim_tf.files import read_npz, write_npz
from fedsim_tf.models.latents import LatentDistribution
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.stage import OpenStage

FOLDER = "shared"  # of what all sites have alike, in each site's own folder


class SharedState:
    """What the server does with a round elsewhere: it moves the shared weights by the sum of all sites' gradients.

    Every site has the same weights and the same optimizer, and moves them by the same sum, so that they stay the same.

    Args:
      run: the site's folder of the fold; the state of each checkpoint is kept in its folder `shared`, and there the
        weights after each stage.
      plan: the shared stages in their order.
      cipher: what decrypts sums.
      n_sites: how many sites take part.
    """

    def __init__(self, run: RunFolder, plan: Mapping[str, StagePlan], cipher: SumCipher, *, n_sites: int):
        self._run = RunFolder(run.path / FOLDER, run.config)
        self._plan, self._cipher, self._n_sites = plan, cipher, n_sites
        self._server: Server | None = None
        self._open: OpenStage | None = None

    def clear(self, task: Task) -> Task:
        """Return a task as a server gives it that knows the weights: with them, and without what is encrypted.

        Raises:
          InputError: a task out of its order, a stage of whose weights this site does not have the state, or
            moments that cannot be decrypted.
        """
        if task.kind == BEGIN:
            weights = self._begin(task)
        elif task.kind in (GRADIENTS, KEEP, END):
            weights = self._advance(task)
        else:
            weights = {}
        pooled = self._pool_latents(task.encrypted_latents) if task.encrypted_latents else task.distribution
        return dataclasses.replace(task, weights=weights, distribution=pooled, encrypted={}, encrypted_latents={})

    def keep(self, task: Task) -> None:
        """Keep the state that belongs to a task, after the site has kept its own."""
        if self._open is not None and self._server is not None and task.kind in (KEEP, END):
            self._open.save()
            if task.kind == END:
                write_npz(self._file(task.stage), self._server.weights)
                self._open.finish()
                self._server = self._open = None

    def _pool_latents(self, encrypted: Arrays) -> LatentDistribution:
        shapes = list_moment_shapes(self._run.config.model.latent)
        return arrays_to_moments(self._cipher.decrypt(encrypted, shapes)).distribution()

    def _begin(self, task: Task) -> Arrays:
        if task.stage not in self._plan:
            expected = ", ".join(self._plan)
            raise InputError(f"stage {task.stage!r}", found="none that the job has", expected=expected)
        plan = self._plan[task.stage]
        first = task.weights or self._weights_before(task.stage)
        self._server = Server(first, rate=plan.rate, steps=plan.steps, accumulate=plan.accumulate)
        self._open = OpenStage(self._run, task.stage, objects={"server": self._server}, at=task.round)
        if self._open.done != task.round:
            found = f"the shared weights after {self._open.done} rounds of {task.stage}"
            self._server = self._open = None
            raise InputError(self._run.path, found=found, expected=f"those after {task.round}, which nobody sends")
        return self._server.weights

    def _advance(self, task: Task) -> Arrays:
        if self._server is None or self._open is None or self._open.name != task.stage:
            if task.kind == END and self._file(task.stage).exists():  # an earlier start has ended it
                return read_npz(self._file(task.stage))
            raise InputError("task", found=f"{task.kind!r} of {task.stage}", expected=f"{BEGIN!r} of it before")
        if task.round == self._open.done + 1 and task.encrypted:
            weights = self._server.weights
            totals = self._cipher.decrypt(task.encrypted, {name: value.shape for name, value in weights.items()})
            self._server.move([totals[name] for name in weights], count=self._n_sites)
            self._open.done = task.round
        if task.round != self._open.done:
            found = f"{task.kind!r} at round {task.round} of {task.stage}"
            raise InputError("task", found=found, expected=f"the sum of round {self._open.done} before it")
        return self._server.weights

    def _weights_before(self, stage: str) -> Arrays:
        """Return the weights after the stage that comes before."""
        stages = list(self._plan)
        before = stages[stages.index(stage) - 1] if stages.index(stage) else ""
        if not before or not self._file(before).exists():
            found = f"no shared weights after {before}" if before else "no weights to begin with"
            raise InputError(self._run.path, found=found, expected="a site that has taken part from the first stage on")
        return read_npz(self._file(before))

    def _file(self, stage: str) -> pathlib.Path:
        return self._run.path / f"{stage.replace('/', '-')}.npz"
