"""What travels from a site to the server, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.models.latents import LatentStatistics

Arrays = Mapping[str, np.ndarray]
MOST_VOLUMES = 100_000  # of a site
_LONGEST_LATENT = 4096  # whose moments are looked at: some seconds of the server's
_ROUNDING = 1e-4  # of moments, relative


@dataclasses.dataclass(frozen=True, eq=False)
class SiteUpdate:
    """One site's contribution to a round.

    Attributes:
      site: the site's name.
      stage: the stage, and round: the round within it that it belongs to.
      count: how many volumes it comes from.
      gradients: by name, of the shared networks; empty in the answer to a task that asks for none.
      latents: pooled moments of the site's latents, when the server asked for them.

    Raises:
      InputError: a count that is none, anything that is not a finite float32 array, or moments that no latents have.
    """

    site: str
    stage: str
    round: int
    count: int
    gradients: Arrays = dataclasses.field(default_factory=dict)
    latents: LatentStatistics | None = None

    def __post_init__(self):
        if not isinstance(self.count, int) or self.count < 0:
            raise InputError(f"count of {self.site}", found=repr(self.count), expected="a number of volumes")
        for name, value in self.gradients.items():
            if not isinstance(value, np.ndarray) or value.dtype != np.float32:
                raise InputError(f"gradient {name} of {self.site}", found=type(value).__name__, expected="float32")
            _check_finite(f"gradient {name} of {self.site}", value)
        if self.latents is not None:
            self._check_latents(self.latents)

    def _check_latents(self, latents: LatentStatistics) -> None:
        subject = f"latents of {self.site}"
        if not isinstance(latents, LatentStatistics):
            raise InputError(subject, found=type(latents).__name__, expected="LatentStatistics or None")
        length = latents.sum.shape
        if latents.sum.ndim != 1 or latents.sum_outer.shape != length * 2 or latents.sum.size > _LONGEST_LATENT:
            found = f"moments of shapes {length}, {latents.sum_outer.shape}"
            raise InputError(subject, found=found, expected=f"d, d x d, with d at most {_LONGEST_LATENT}")
        _check_finite(subject, latents.sum)
        _check_finite(subject, latents.sum_outer)
        self._check_moments(subject, latents)

    def _check_moments(self, subject: str, latents: LatentStatistics) -> None:
        """Moments decide what every site samples: those of no latents at all must not."""
        outer, size = latents.sum_outer, float(np.abs(latents.sum_outer).max(initial=0.0))
        if not 0 < latents.count <= MOST_VOLUMES:
            raise InputError(subject, found=f"moments of {latents.count} volumes", expected=f"1 to {MOST_VOLUMES}")
        if np.abs(outer - outer.T).max(initial=0.0) > _ROUNDING * size:
            raise InputError(subject, found="a sum of outer products that is not symmetric", expected="a symmetric one")
        spread = outer - np.outer(latents.sum, latents.sum) / latents.count
        if np.linalg.eigvalsh(spread).min(initial=0.0) < -_ROUNDING * size:
            raise InputError(subject, found="moments of a negative variance", expected="those of latents")

    @property
    def norm(self) -> float:
        """The Euclidean norm of all gradients together."""
        return norm_of(self.gradients)


def norm_of(arrays: Arrays) -> float:
    """The Euclidean norm of all arrays together."""
    # In float64: squares of tiny float32 values are nothing in float32, and a norm of nothing would not be clipped.
    return float(np.sqrt(sum(float(np.sum(np.square(value, dtype=np.float64))) for value in arrays.values())))


def check_against(update: SiteUpdate, weights: Arrays, *, stage: str, round_number: int, latent: int) -> None:
    """Refuses an update of another round, gradients that are not those of the shared weights, moments of other latents.

    `latent`: how long latents are.

    Raises:
      InputError: says which site, what was found and what was expected.
    """
    if (update.stage, update.round) != (stage, round_number):
        raise InputError(
            f"update of {update.site}",
            found=f"round {update.round} of {update.stage}",
            expected=f"round {round_number} of {stage}",
        )
    if update.latents is not None and update.latents.sum.shape != (latent,):
        length = len(update.latents.sum)
        raise InputError(f"moments of {update.site}", found=f"of latents of length {length}", expected=latent)
    names = set(update.gradients) ^ set(weights)
    if names:
        raise InputError(
            f"update of {update.site}", found=f"gradients that differ in {sorted(names)}", expected="the shared weights"
        )
    for name, value in update.gradients.items():
        if value.shape != weights[name].shape:
            raise InputError(
                f"gradient {name} of {update.site}",
                found=f"shape {value.shape}",
                expected=f"shape {weights[name].shape}",
            )


def _check_finite(subject: str, values: np.ndarray) -> None:
    if not np.all(np.isfinite(values)):
        raise InputError(subject, found="NaN or infinity", expected="finite values")
