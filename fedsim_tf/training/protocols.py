"""Define a stage of learning: a name, the objects that it changes, and one step with given random numbers.

A stage draws no random numbers but those of the generator that its step is given. That generator is a function of
seed, stage and step, see `randomness.step_rng`, so that a resumed run repeats the steps of an undisturbed one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
import tensorflow as tf

from fedsim_tf.training.randomness import StepSeeds
from fedsim_tf.training.watch import Watched

Losses = Mapping[str, Any]  # name to a scalar tensor or float
TensorLosses = dict[str, tf.Tensor]
SharedGradients = list[tf.Tensor]  # in the order of `SharedLearner.shared_variables`
Trackable: TypeAlias = tf.Variable | tf.Module | tf.keras.optimizers.Optimizer  # what checkpoints hold
Trackables = Mapping[str, Trackable]


class _NamedStage(Watched, Protocol):
    """What a stage has beside its step."""

    @property
    def name(self) -> str:
        """The stage's name, unique within a run's folder."""

    @property
    def objects(self) -> Trackables:
        """Everything that the stage changes, by name; saved in each checkpoint."""

    @property
    def seeds(self) -> StepSeeds:
        """Return what the generators of its steps are made from."""


class Stage(_NamedStage, Protocol):
    """A stage that moves all that it learns by itself; `stage.run_stage` runs it."""

    def step(self, index: int, rng: np.random.Generator, /) -> Losses:
        """Do the step of this number with these random numbers and return its losses."""


class SharedLearner(Protocol):
    """The state that a shared stage moves: some of its variables are the same at all sites."""

    @property
    def shared_variables(self) -> list[tf.Variable]:
        """The variables that all sites share."""

    @property
    def shared_names(self) -> list[str]:
        """A name for each shared variable, the same at every site."""

    @property
    def count(self) -> int:
        """The number of annotated volumes that its gradients come from."""


class SharedStage(_NamedStage, Protocol):
    """One site's side of a stage whose shared variables are moved from outside.

    At a single site `simulation.SingleSiteStage` moves them; in a federation the server does, by all sites' gradients.
    """

    @property
    def learner(self) -> SharedLearner:
        """The state that the stage moves."""

    def shared_gradients(self, index: int, rng: np.random.Generator, /) -> tuple[TensorLosses, SharedGradients]:
        """Do the step of this number, all but moving the shared variables; return its losses and their gradients."""

    def list_batch(self, index: int, /) -> tuple[str, ...]:
        """Return the identities of the volumes that the step of this number learns from."""
