"""The state of the server in one stage: the shared weights and their optimizer."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from fedsim_tf.errors import InputError
from fedsim_tf.federated.aggregation import NONE, accumulate_gradients
from fedsim_tf.federated.update import Arrays, SiteUpdate
from fedsim_tf.models.latents import LatentDistribution, LatentStatistics
from fedsim_tf.training.optimizers import adam


class Server(tf.Module):
    """The shared weights and the optimizer that moves them.

    Args:
      weights: the initial shared weights, by name.
      rate: Adam's rate.
      steps: rounds of the stage, from which the schedule of the rate follows.
      accumulate: "sum" (as in the paper) or "mean" of the sites' gradients.
      robust: how one bad site is borne, see `accumulate_gradients`.

    Raises:
      InputError: `accumulate` is neither.
    """

    def __init__(self, weights: Arrays, *, rate: float, steps: int, accumulate: str, robust: str = NONE):
        super().__init__(name="server")
        if accumulate not in ("sum", "mean"):
            raise InputError("accumulate", found=repr(accumulate), expected="'sum' or 'mean'")
        self._accumulate, self._robust = accumulate, robust
        self._names = list(weights)
        self.variables_list = [tf.Variable(value, name=f"shared_{i}") for i, value in enumerate(weights.values())]
        self.optimizer = adam(rate, self.variables_list, steps=steps)

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The shared weights that every site gets, by name."""
        return {name: variable.numpy() for name, variable in zip(self._names, self.variables_list, strict=True)}

    def step(self, updates: Sequence[SiteUpdate]) -> None:
        """Take one optimizer step on the accumulated gradients of a round (section 2.3).

        Args:
          updates: one of each site; their gradients have the names and shapes of the weights.
        """
        self.move(accumulate_gradients(updates, self._names, rule=self._robust), count=len(updates))

    def move(self, totals: Sequence[np.ndarray], *, count: int) -> None:
        """Take one optimizer step on sums of gradients, in the order of the weights, of so many sites."""
        scale = 1.0 if self._accumulate == "sum" else 1.0 / count
        pairs = zip([tf.constant(scale * total, tf.float32) for total in totals], self.variables_list, strict=True)
        self.optimizer.apply_gradients(pairs)


def pool_moments(statistics: Sequence[LatentStatistics]) -> LatentDistribution:
    """Return the normal distribution that is fitted to the latents of all sites, given only the sites' moments."""
    return functools.reduce(operator.add, statistics).distribution()
