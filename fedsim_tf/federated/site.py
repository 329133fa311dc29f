"""A site: keeps its data, latents, enhancement network and discriminator; lets out `SiteUpdate`s."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import numpy as np
import tensorflow as tf

from fedsim_tf.errors import InputError
from fedsim_tf.federated.update import Arrays, SiteUpdate
from fedsim_tf.training.pretraining import SharedGradients, TensorLosses
from fedsim_tf.training.watch import Watched


class SharedLearner(Protocol):
    """What learns at a site, with some variables that all sites share."""

    @property
    def shared_variables(self) -> list[tf.Variable]: ...

    @property
    def shared_names(self) -> list[str]: ...

    @property
    def objects(self) -> dict[str, tf.Module]: ...

    @property
    def count(self) -> int: ...


class SharedStage(Watched, Protocol):
    """One site's side of a stage that moves shared variables."""

    @property
    def name(self) -> str: ...

    @property
    def objects(self) -> dict[str, tf.Module]: ...

    def shared_gradients(self, step: int) -> tuple[TensorLosses, SharedGradients]: ...


LearnerT = TypeVar("LearnerT", bound=SharedLearner)


class Site(Generic[LearnerT]):
    """One hospital in a federated run.

    Attributes:
      name: the site's name.
      learner: its state; stays here.
      last_losses: of its last step, for the site's own log; not part of an update.
    """

    def __init__(self, name: str, learner: LearnerT):
        self.name, self.learner = name, learner
        self.last_losses: dict[str, float] = {}
        self._names = learner.shared_names

    @property
    def objects(self) -> dict[str, tf.Module]:
        """What a checkpoint holds of this site, under names of its own."""
        return self._named(self.learner.objects)

    def stage_objects(self, stage: SharedStage) -> dict[str, tf.Module]:
        """The same together with a stage's optimizers."""
        return self._named(stage.objects)

    def _named(self, objects: dict[str, tf.Module]) -> dict[str, tf.Module]:
        return {f"{self.name}_{key}": value for key, value in objects.items()}

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The site's copy of the shared weights."""
        return {name: v.numpy() for name, v in zip(self._names, self.learner.shared_variables, strict=True)}

    def receive(self, weights: Arrays) -> None:
        """Takes over the broadcast weights.

        Raises:
          InputError: names that are not those of the shared networks.
        """
        if list(weights) != self._names:
            raise InputError(f"weights for {self.name}", found=sorted(weights), expected=sorted(self._names))
        for name, variable in zip(self._names, self.learner.shared_variables, strict=True):
            variable.assign(weights[name])

    def update(self, stage: SharedStage, round_number: int) -> SiteUpdate:
        """One step on this site's data: moves what is local and returns the gradients of what is shared."""
        losses, gradients = stage.shared_gradients(round_number)
        self.last_losses = {key: float(value) for key, value in losses.items()}
        named = {name: gradient.numpy() for name, gradient in zip(self._names, gradients, strict=True)}
        return SiteUpdate(self.name, round_number, self.learner.count, named)
