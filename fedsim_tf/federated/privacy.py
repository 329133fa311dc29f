"""Differential privacy of a site's gradients: clipped and given noise before they leave (Abadi et al. 2016).

What is protected is the site's data as a whole, in every round: two data sets of a site, however they differ, give
clipped gradients that are at most twice the bound apart. Noise is drawn from the operating system's entropy, not from
the run's seed, which the server knows.
"""

from __future__ import annotations

import pathlib

import numpy as np

from fedsim_tf.config import FederatedConfig
from fedsim_tf.federated.task import GRADIENTS
from fedsim_tf.federated.update import Arrays, norm_of
from fedsim_tf.federated.wire_record import SENT, read_record
from fedsim_tf.files import write_json

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
    norm = norm_of(gradients)
    scale = min(1.0, bound / norm) if norm else 1.0
    rng = np.random.default_rng()
    return {
        name: (scale * value + multiplier * bound * rng.standard_normal(value.shape)).astype(np.float32)
        for name, value in gradients.items()
    }


def epsilon(multiplier: float, rounds: int, *, delta: float = DELTA) -> float:
    """Epsilon of that many rounds with noise of `multiplier` times the bound; infinite without noise."""
    if not rounds:
        return 0.0
    if not multiplier:
        return float("inf")
    from dp_accounting import GaussianDpEvent, NeighboringRelation, pld  # of the extra [federated]

    # One data set in the place of another: the accountant takes twice the bound for what this may change.
    accountant = pld.PLDAccountant(NeighboringRelation.REPLACE_ONE)
    accountant.compose(GaussianDpEvent(multiplier), rounds)
    return float(accountant.get_epsilon(delta))


def account(folder: pathlib.Path, settings: FederatedConfig) -> float:
    """Writes privacy.json of a site's fold from the record of what it sent, repeated rounds too; returns epsilon."""
    rounds = sum(row.task == GRADIENTS and row.arrays > 0 for row in read_record(folder, SENT))
    found = epsilon(settings.noise_multiplier, rounds)
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
