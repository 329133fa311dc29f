"""Random numbers that are a function of seed, stage and step alone."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np


def step_rng(seed: int, stage: str, step: int, *, secret: str = "") -> np.random.Generator:
    """Return the generator for the random choices of one step, which a resumed run repeats exactly.

    Args:
      seed: the run's.
      stage: a word for the stage or purpose; other words give other numbers.
      step: the number of the step.
      secret: if given, nobody who does not know it can repeat the choices.
    """
    word = int.from_bytes(hashlib.sha256(stage.encode()).digest()[:4], "big")
    hidden = [int.from_bytes(hashlib.sha256(secret.encode()).digest(), "big")] if secret else []
    return np.random.default_rng([seed, word, step, *hidden])


@dataclasses.dataclass(frozen=True)
class StepSeeds:
    """What the generators of a stage's steps are made from; see `step_rng`."""

    seed: int
    stage: str
    secret: str = ""

    def rng(self, step: int) -> np.random.Generator:
        """Return the generator of a step."""
        return step_rng(self.seed, self.stage, step, secret=self.secret)
