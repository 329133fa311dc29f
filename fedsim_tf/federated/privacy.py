"""Differential privacy of a site's gradients: clipped and given noise before they leave (Abadi et al. 2016).

What is protected is the site's data as a whole, in every round: two data sets of a site, however they differ, give
clipped gradients that are at most twice the bound apart. Noise is drawn from the operating system's entropy, not from
the run's seed, which the server knows.
"""

from __future__ import annotations

import math
import pathlib

import numpy as np
from scipy import optimize

from fedsim_tf.config import FederatedConfig
from fedsim_tf.errors import InputError
from fedsim_tf.federated.task import GRADIENTS
from fedsim_tf.federated.update import Arrays, norm_of
from fedsim_tf.federated.wire_record import SENT, read_record
from fedsim_tf.files import hold, read_json, write_json

DELTA = 1e-5
RECORD = "privacy.json"


def privatized(gradients: Arrays, *, bound: float, multiplier: float) -> dict[str, np.ndarray]:
    """Gradients scaled to a Euclidean norm of at most `bound` together, each value with normal noise.

    Args:
      gradients: by name, float32.
      bound: of the norm; 0: as they are.
      multiplier: the noise's standard deviation in units of `bound`.
    """
    if not bound:
        return dict(gradients)
    clipped = {name: value.astype(np.float64) for name, value in gradients.items()}
    norm = norm_of(clipped)
    if norm > bound:
        clipped = {name: value * (bound / norm) for name, value in clipped.items()}
    if not norm_of(clipped) <= bound * (1 + 1e-6):
        raise FloatingPointError(f"gradients of norm {norm:g} that cannot be clipped to {bound:g}")
    rng = np.random.Generator(np.random.PCG64DXSM())  # seeded by the operating system, anew in every round
    return {
        name: (value + multiplier * bound * rng.standard_normal(value.shape)).astype(np.float32)
        for name, value in clipped.items()
    }


def loss_of(multiplier: float, rounds: int) -> float:
    """What rounds with noise of `multiplier` times the bound give away: rounds over its square, which adds up."""
    if not rounds:
        return 0.0
    return rounds / multiplier**2 if multiplier else math.inf


def epsilon(loss: float, *, delta: float = DELTA) -> float:
    """Epsilon of a `loss_of`, of one kind of rounds or summed over several; infinite without noise.

    Rounds of Gaussian noise together are one of their summed precision (Dong et al. 2022), and that one's epsilon has a
    closed form.
    """
    if not loss or not math.isfinite(loss):
        return loss
    from dp_accounting.pld.privacy_loss_mechanism import GaussianPrivacyLoss  # of the extra [federated]

    # One data set in the place of another moves clipped gradients by up to twice the bound.
    mechanism = GaussianPrivacyLoss(1 / math.sqrt(loss), sensitivity=2.0)
    beyond = lambda found: mechanism.get_delta_for_epsilon(found) - delta  # noqa: E731
    if beyond(0.0) <= 0:
        return 0.0
    most = 1.0
    while beyond(most) > 0:
        most *= 2
    return float(optimize.brentq(beyond, 0.0, most))


def rounds_sent(folder: pathlib.Path, stage: str = "") -> int:
    """How many rounds' gradients, repeated ones too, have left from a site's fold, or of one stage, by its record."""
    sent = [row for row in read_record(folder, SENT) if row.task == GRADIENTS and row.arrays > 0]
    return sum(stage in ("", row.stage) for row in sent)


def spent(runs: pathlib.Path) -> float:
    """The `loss_of` of all gradients that were sent from the folds below a folder, of whatever runs."""
    folders = {file.parent for file in runs.rglob(f"{SENT}.csv")}
    return sum(loss_of(_multiplier(folder), rounds_sent(folder)) for folder in folders)


def _multiplier(folder: pathlib.Path) -> float:
    """A fold's noise, 0 where that is not to be read any more."""
    try:
        return float(read_json(folder / "config.json")["federated"]["noise_multiplier"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


class Budget:
    """What a site's gradients may give away in all of its runs together; asked before each of a round leaves.

    Args:
      runs: the folder of all of the site's runs, whose records say what has been given away.
      most_epsilon: at most that, at `DELTA`; 0: no limit.
      multiplier: this run's noise.
    """

    def __init__(self, runs: pathlib.Path, most_epsilon: float, multiplier: float):
        self._runs, self._most, self._round = runs, most_epsilon, loss_of(multiplier, 1)
        self._spent = 0.0
        if most_epsilon:
            hold(runs)  # two processes would both spend what is left
            self._spent = spent(runs)

    def check(self) -> None:
        """Whether there is something left for another round.

        Raises:
          InputError: there is not.
        """
        if self._most and (found := epsilon(self._spent + self._round)) > self._most:
            where = f"gradients of the runs in {self._runs}"
            raise InputError(where, found=f"epsilon {found:.3g} with another round", expected=f"at most {self._most:g}")

    def spend(self) -> None:
        """Counts a round; see `check`."""
        self.check()
        self._spent += self._round


def account(folder: pathlib.Path, settings: FederatedConfig, *, stage: str = "", least: int = 0) -> float:
    """Writes privacy.json of a site's fold from the record of what it sent, repeated rounds too; returns epsilon.

    Args:
      folder: of the fold at this site, below which its record is.
      settings: the run's.
      stage: the one that has just ended; least: of how many of its rounds this site has given gradients.

    Raises:
      InputError: the record has fewer rounds than that: nobody knows what has left.
    """
    recorded, rounds = rounds_sent(folder, stage), rounds_sent(folder)
    if recorded < least:
        raise InputError(folder / f"{SENT}.csv", found=f"{recorded} rounds of gradients", expected=f"at least {least}")
    found = epsilon(loss_of(settings.noise_multiplier, rounds))
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
