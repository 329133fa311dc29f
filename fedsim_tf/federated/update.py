"""The contribution of a site to a round, which is all that may travel from a site to the server."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.models.latents import LatentStatistics

Arrays = Mapping[str, np.ndarray]
MOST_VOLUMES = 100_000  # that a site may claim to have
_LONGEST_LATENT = 4096  # the check of longer ones would keep the server busy for more than seconds
_ROUNDING = 1e-4  # relative error of moments that is put down to rounding
_LARGEST = 1e18  # no moments of latents are so large, and squares of much larger ones overflow


@dataclasses.dataclass(frozen=True, eq=False)
class SiteUpdate:
    """The contribution of one site to a round.

    Attributes:
      site: the site's name.
      stage: the stage that it belongs to.
      round: the round within the stage.
      count: how many volumes it comes from; where a stage begins, how many the site has.
      gradients: gradients of the shared networks' variables, by name; empty where the task asks for none.
      latents: moments of the site's latents, where the task asks for them.
      encrypted: gradients or moments as ciphertexts, in place of `gradients` or `latents`, where the server must not
        read them.

    Raises:
      InputError: `count` is not a number of volumes, a gradient is not a finite float32 array, no latents can have such
        moments, or ciphertexts are no bytes.
    """

    site: str
    stage: str
    round: int
    count: int
    gradients: Arrays = dataclasses.field(default_factory=dict)
    latents: LatentStatistics | None = None
    encrypted: Arrays = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if not isinstance(self.count, int) or self.count < 0:
            raise InputError(f"count of {self.site}", found=repr(self.count), expected="a number of volumes")
        for name, value in self.gradients.items():
            if not isinstance(value, np.ndarray) or value.dtype != np.float32:
                raise InputError(f"gradient {name} of {self.site}", found=type(value).__name__, expected="float32")
            _check_finite(f"gradient {name} of {self.site}", value)
        for name, value in self.encrypted.items():
            if not is_bytes(value):
                raise InputError(f"part {name} of {self.site}", found=type(value).__name__, expected="bytes")
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
        """Refuses moments that no latents can have: the pooled ones decide what every site samples."""
        outer, size = latents.sum_outer, float(np.abs(latents.sum_outer).max(initial=0.0))
        if max(size, float(np.abs(latents.sum).max(initial=0.0))) > _LARGEST:
            raise InputError(subject, found=f"moments of size {size:.3g}", expected=f"below {_LARGEST:g}")
        if not 0 < latents.count <= MOST_VOLUMES:
            raise InputError(subject, found=f"moments of {latents.count} volumes", expected=f"1 to {MOST_VOLUMES}")
        if np.abs(outer - outer.T).max(initial=0.0) > _ROUNDING * size:
            raise InputError(subject, found="a sum of outer products that is not symmetric", expected="a symmetric one")
        spread = outer - np.outer(latents.sum, latents.sum) / latents.count
        if np.linalg.eigvalsh(spread).min(initial=0.0) < -_ROUNDING * size:
            raise InputError(subject, found="moments of a negative variance", expected="those of latents")

    @property
    def norm(self) -> float:
        """Euclidean norm of all gradients together."""
        return measure_norm(self.gradients)


def is_bytes(value: object) -> bool:
    """Return whether something is an array of bytes, as ciphertexts travel."""
    return isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 1


def measure_norm(arrays: Arrays) -> float:
    """Return the Euclidean norm of all arrays together."""
    # Squares of tiny float32 values are 0 in float32, and gradients with a norm of 0 would not be clipped.
    return float(np.sqrt(sum(float(np.sum(np.square(value, dtype=np.float64))) for value in arrays.values())))


def check_against(update: SiteUpdate, weights: Arrays, *, stage: str, round_number: int, latent: int) -> None:
    """Check that an update is of this round, its gradients of the shared weights and its moments of these latents.

    Args:
      update: a site's update.
      weights: the shared weights whose gradients were asked for, by name.
      stage, round_number: the stage and its round.
      latent: length of a latent.

    Raises:
      InputError: it is not; the message names the site.
    """
    if (update.stage, update.round) != (stage, round_number):
        raise InputError(
            f"update of {update.site}",
            found=f"round {update.round} of {update.stage}",
            expected=f"round {round_number} of {stage}",
        )
    if update.latents is not None and update.latents.sum.shape != (latent,):
        length = len(update.latents.sum)
        raise InputError(f"moments of {update.site}", found=f"latents of length {length}", expected=f"length {latent}")
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
