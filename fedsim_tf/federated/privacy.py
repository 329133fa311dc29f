"""Differential privacy of a site's gradients, which are clipped and get noise before they leave (Abadi et al. 2016).

Each round protects the data of a site as a whole: any two data sets give clipped gradients that are at most twice the
bound apart. Noise comes from the operating system's entropy, not from the run's seed, which the server knows.

The cost of rounds with noise of m times the bound is their number over m^2. Costs add up, and together they give
epsilon: k rounds of Gaussian noise are as one of the same cost (Dong et al. 2022).
"""

from __future__ import annotations

import math
import pathlib

import numpy as np
from scipy import optimize

from fedsim_tf.config import FederatedConfig
from fedsim_tf.errors import InputError
from fedsim_tf.federated.task import GRADIENTS
from fedsim_tf.federated.update import Arrays, measure_norm
from fedsim_tf.federated.wire_record import SENT, read_wire_record
from fedsim_tf.files import hold, read_json, write_json

DELTA = 1e-5
RECORD = "privacy.json"


def privatize(gradients: Arrays, *, bound: float, multiplier: float) -> dict[str, np.ndarray]:
    """Scale gradients to a Euclidean norm of at most `bound` together, and add normal noise to each value.

    Args:
      gradients: gradients by name, float32.
      bound: the largest norm; 0: gradients are returned as they are.
      multiplier: standard deviation of the noise in units of `bound`.

    Returns:
      The new gradients by name, float32.

    Raises:
      FloatingPointError: the gradients cannot be scaled to the norm, as they are not finite.
    """
    if not bound:
        return dict(gradients)
    clipped = {name: value.astype(np.float64) for name, value in gradients.items()}
    norm = measure_norm(clipped)
    if norm > bound:
        clipped = {name: value * (bound / norm) for name, value in clipped.items()}
    if not measure_norm(clipped) <= bound * (1 + 1e-6):
        raise FloatingPointError(f"gradients of norm {norm:g} that cannot be clipped to {bound:g}")
    rng = np.random.Generator(np.random.PCG64DXSM())  # seeded by the operating system, anew in every round
    return {
        name: (value + multiplier * bound * rng.standard_normal(value.shape)).astype(np.float32)
        for name, value in clipped.items()
    }


def compute_cost(multiplier: float, rounds: int) -> float:
    """Return the cost of rounds with noise of `multiplier` times the bound; infinite without noise."""
    if not rounds:
        return 0.0
    return rounds / multiplier**2 if multiplier else math.inf


def compute_epsilon(cost: float, *, delta: float = DELTA) -> float:
    """Return the epsilon of a cost; infinite where the cost is.

    Args:
      cost: see `compute_cost`; a sum of several is one, too.
      delta: probability with which epsilon may be exceeded.
    """
    if not cost or not math.isfinite(cost):
        return cost
    from dp_accounting.pld.privacy_loss_mechanism import GaussianPrivacyLoss  # of the extra [federated]

    # Another data set in the place of this one moves clipped gradients by up to twice the bound.
    mechanism = GaussianPrivacyLoss(1 / math.sqrt(cost), sensitivity=2.0)
    beyond = lambda found: mechanism.get_delta_for_epsilon(found) - delta  # noqa: E731
    if beyond(0.0) <= 0:
        return 0.0
    most = 1.0
    while beyond(most) > 0:
        most *= 2
    return float(optimize.brentq(beyond, 0.0, most))


def count_rounds_sent(folder: pathlib.Path, stage: str = "") -> int:
    """Return how many rounds' gradients have left a site, as its record says; repeated rounds count again.

    Args:
      folder: the site's folder of a fold, which has the record.
      stage: the stage whose rounds are counted; "": all stages.
    """
    return sum(stage in ("", of) for of, _ in list_rounds_sent(folder))


def list_rounds_sent(folder: pathlib.Path) -> list[tuple[str, int]]:
    """Return stage and round of all gradients that have left a site, as its record says; repeated ones come again."""
    return [
        (row.stage, row.round) for row in read_wire_record(folder, SENT) if row.task == GRADIENTS and row.arrays > 0
    ]


def sum_costs(runs: pathlib.Path) -> float:
    """Return the cost of all gradients that were sent from any site's folder below `runs`."""
    folders = {file.parent for file in runs.rglob(f"{SENT}.csv")}
    return sum(compute_cost(_read_multiplier(folder), count_rounds_sent(folder)) for folder in folders)


def _read_multiplier(folder: pathlib.Path) -> float:
    """Return the noise multiplier of a fold; 0, which makes its cost infinite, where it cannot be read."""
    try:
        return float(read_json(folder / "config.json")["federated"]["noise_multiplier"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


class Budget:
    """The limit of epsilon for the gradients of all runs of a site together.

    Args:
      runs: folder of all runs of the site, whose records say what the runs have cost so far.
      most_epsilon: the largest epsilon at `DELTA`; 0: no limit.
      multiplier: the noise multiplier of this run.

    Raises:
      RunStopped: another process of this site works within `runs`, and would spend the same budget.
    """

    def __init__(self, runs: pathlib.Path, most_epsilon: float, multiplier: float):
        self._runs, self._most, self._cost_of_round = runs, most_epsilon, compute_cost(multiplier, 1)
        self._spent = 0.0
        if most_epsilon:
            hold(runs)  # two processes would both spend what is left
            self._spent = sum_costs(runs)

    def check(self) -> None:
        """Check that the budget has enough left for another round.

        Raises:
          InputError: it has not.
        """
        if self._most and (found := compute_epsilon(self._spent + self._cost_of_round)) > self._most:
            where = f"gradients of the runs in {self._runs}"
            raise InputError(where, found=f"epsilon {found:.3g} with another round", expected=f"at most {self._most:g}")

    def spend(self) -> None:
        """Count a round, whose gradients may leave once this has returned.

        Raises:
          InputError: the budget has not enough left.
        """
        self.check()
        self._spent += self._cost_of_round


def write_account(folder: pathlib.Path, settings: FederatedConfig, *, stage: str = "", least: int = 0) -> float:
    """Write a site's privacy.json from the record of what it has sent; repeated rounds count again.

    Args:
      folder: the site's folder of a fold, which has the record.
      settings: the run's settings.
      stage: the stage that has just ended.
      least: for how many rounds of that stage the site has given gradients, as far as it knows.

    Returns:
      Epsilon at `DELTA`.

    Raises:
      InputError: the record has fewer rounds than `least`, so that nobody knows what has left.
    """
    recorded, rounds = count_rounds_sent(folder, stage), count_rounds_sent(folder)
    if recorded < least:
        raise InputError(folder / f"{SENT}.csv", found=f"{recorded} rounds of gradients", expected=f"at least {least}")
    found = compute_epsilon(compute_cost(settings.noise_multiplier, rounds))
    record = {
        "epsilon": found if np.isfinite(found) else None,
        "delta": DELTA,
        "rounds": rounds,
        "clip_norm": settings.clip_norm,
        "noise_multiplier": settings.noise_multiplier,
        "protects": "all of the site's data in the gradients of this fold; losses and moments of latents have no noise",
    }
    write_json(folder / RECORD, record)
    return found
