"""The account of what has left a site with noise: its cost, the epsilon that this amounts to, and a limit on it.

The cost of an answer with noise of m times its bound is 1 / m^2; see `privacy` for what is bounded. Costs add up, and
together they give epsilon: k answers with Gaussian noise are as one of the same cost (Dong et al. 2022). An answer that
is sent again, the same to the last bit, tells nothing new and costs nothing.
"""

from __future__ import annotations

import math
import pathlib
from collections.abc import Sequence

import numpy as np
from scipy import optimize

from fedsim_tf.config import FederatedConfig
from fedsim_tf.errors import InputError
from fedsim_tf.federated.privacy import LOSS_FACTOR
from fedsim_tf.federated.task import GRADIENTS, LATENTS
from fedsim_tf.federated.wire_record import SENT, SentMessage, read_wire_record
from fedsim_tf.files import hold, read_json, write_json

DELTA = 1e-5
RECORD = "privacy.json"
# In units of a gradient's cost.
_LOSSES_SHARE = 1 / LOSS_FACTOR**2
ROUND_SHARE, MOMENTS_SHARE = 1 + _LOSSES_SHARE, 1.0
_PROTECTED = (
    "all of the site's data in the gradients, moments of latents and losses of this fold; not how many they are"
)
_UNPROTECTED = "nothing, as moments or losses of this fold left without noise, or with hardly any"


def compute_cost(multiplier: float, shares: float) -> float:
    """Return the cost of answers with noise of `multiplier` times the bound; infinite without noise.

    Args:
      multiplier: standard deviation of the noise in units of the bound.
      shares: how many answers; losses are a hundredth of one, as they have more noise. Infinite if some had none.
    """
    if not shares:
        return 0.0
    square = multiplier * multiplier  # 0 for the smallest multipliers, too
    return shares / square if square else math.inf


def compute_epsilon(cost: float, *, delta: float = DELTA) -> float:
    """Return the epsilon of a cost; infinite where the cost is.

    Args:
      cost: see `compute_cost`; a sum of several is one, too.
      delta: probability with which epsilon may be exceeded.
    """
    if not cost or not math.isfinite(cost):
        return cost
    from dp_accounting.pld.privacy_loss_mechanism import GaussianPrivacyLoss  # of the extra [federated]

    # Another data set in the place of this one moves what is bounded by up to twice the bound.
    mechanism = GaussianPrivacyLoss(1 / math.sqrt(cost), sensitivity=2.0)
    beyond = lambda found: mechanism.get_delta_for_epsilon(found) - delta  # noqa: E731
    if beyond(0.0) <= 0:
        return 0.0
    most = 1.0
    while beyond(most) > 0:
        most *= 2
    return float(optimize.brentq(beyond, 0.0, most))


def list_rounds_sent(folder: pathlib.Path) -> list[tuple[str, int]]:
    """Return stage and round of all gradients that have left a site, as its record says; repeated ones come again."""
    return [(row.stage, row.round) for row in read_wire_record(folder, SENT) if _has_gradients(row)]


def list_answers_sent(folder: pathlib.Path) -> list[SentMessage]:
    """Return the rows of all answers that have left a site with arrays or losses, as its record says.

    An answer that was sent again comes once if it was the same to the last bit. What has no digest was recorded before
    there were any, or was cut short, and counts whenever it comes.
    """
    rows = [row for row in read_wire_record(folder, SENT) if row.arrays > 0 or row.losses > 0]
    known = {row.digest or number: row for number, row in enumerate(rows)}
    return list(known.values())


def sum_shares(rows: Sequence[SentMessage]) -> float:
    """Return how many answers rows of the record amount to, of which losses are a hundredth.

    Infinitely many, where moments or losses have no digest: they left before these had noise.
    """
    if any(not row.digest and (row.losses > 0 or _has_moments(row)) for row in rows):
        return math.inf
    gradients, moments = sum(map(_has_gradients, rows)), sum(map(_has_moments, rows))
    return gradients + moments * MOMENTS_SHARE + _LOSSES_SHARE * sum(row.losses > 0 for row in rows)


def _has_gradients(row: SentMessage) -> bool:
    return row.task == GRADIENTS and row.arrays > 0


def _has_moments(row: SentMessage) -> bool:
    return row.task == LATENTS and row.arrays > 0


def sum_costs(runs: pathlib.Path) -> float:
    """Return the cost of all that was sent from any site's folder below `runs`."""
    folders = {file.parent for file in runs.rglob(f"{SENT}.csv")}
    return sum(compute_cost(_read_multiplier(folder), sum_shares(list_answers_sent(folder))) for folder in folders)


def _read_multiplier(folder: pathlib.Path) -> float:
    """Return the noise multiplier of a fold; 0, which makes its cost infinite, where it cannot be read."""
    try:
        return float(read_json(folder / "config.json")["federated"]["noise_multiplier"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


class Budget:
    """The limit of epsilon for what all runs of a site send together.

    Args:
      runs: folder of all runs of the site, whose records say what the runs have cost so far.
      most_epsilon: the largest epsilon at `DELTA`; 0: no limit.
      multiplier: the noise multiplier of this run.

    Raises:
      RunStopped: another process of this site works within `runs`, and would spend the same budget.
    """

    def __init__(self, runs: pathlib.Path, most_epsilon: float, multiplier: float):
        self._runs, self._most, self._multiplier = runs, most_epsilon, multiplier
        self._spent = 0.0
        if most_epsilon:
            hold(runs)  # two processes would both spend what is left
            self._spent = sum_costs(runs)

    def spend(self, share: float) -> None:
        """Count an answer, which may leave once this has returned.

        Args:
          share: `ROUND_SHARE` or `MOMENTS_SHARE`.

        Raises:
          InputError: the budget has not enough left.
        """
        spent = self._spent + compute_cost(self._multiplier, share)
        if self._most and (found := compute_epsilon(spent)) > self._most:
            where = f"what the runs in {self._runs} have sent"
            raise InputError(where, found=f"epsilon {found:.3g} with this answer", expected=f"at most {self._most:g}")
        self._spent = spent


def write_account(folder: pathlib.Path, settings: FederatedConfig, *, stage: str = "", least: int = 0) -> float:
    """Write a site's privacy.json from the record of what it has sent; see `list_answers_sent` for what counts.

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
    rows = list_answers_sent(folder)
    rounds = [row for row in rows if _has_gradients(row)]
    recorded = sum(stage in ("", row.stage) for row in rounds)
    if recorded < least:
        raise InputError(folder / f"{SENT}.csv", found=f"{recorded} rounds of gradients", expected=f"at least {least}")
    found = compute_epsilon(compute_cost(settings.noise_multiplier, sum_shares(rows)))
    record = {
        "epsilon": found if np.isfinite(found) else None,
        "delta": DELTA,
        "rounds": len(rounds),
        "moments": sum(map(_has_moments, rows)),
        "clip_norm": settings.clip_norm,
        "clip_latents": settings.clip_latents,
        "noise_multiplier": settings.noise_multiplier,
        "protects": _PROTECTED if np.isfinite(found) else _UNPROTECTED,
    }
    write_json(folder / RECORD, record)
    return found
