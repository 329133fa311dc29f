"""What travels between a site and the server, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.models import LatentStatistics

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class SiteUpdate:
    """One site's contribution to a round.

    Attributes:
      site: the site's name.
      round: the round that it belongs to.
      count: how many volumes the gradients come from.
      gradients: by name, of the shared shape and material networks.
      latents: pooled moments of the site's latents, when the server asked for them.

    Raises:
      InputError: anything that is not a finite float32 array.
    """

    site: str
    round: int
    count: int
    gradients: Arrays
    latents: LatentStatistics | None = None

    def __post_init__(self):
        for name, value in self.gradients.items():
            if not isinstance(value, np.ndarray) or value.dtype != np.float32:
                raise InputError(f"gradient {name} of {self.site}", found=type(value).__name__, expected="float32")
            if not np.all(np.isfinite(value)):
                raise InputError(f"gradient {name} of {self.site}", found="NaN or infinity", expected="finite values")
        if self.latents is not None and not isinstance(self.latents, LatentStatistics):
            raise InputError(
                f"latents of {self.site}", found=type(self.latents).__name__, expected="LatentStatistics or None"
            )


def check_against(update: SiteUpdate, weights: Arrays, *, round_number: int) -> None:
    """Refuses an update of another round, or whose gradients are not those of the shared weights.

    Raises:
      InputError: says which site, what was found and what was expected.
    """
    if update.round != round_number:
        raise InputError(f"update of {update.site}", found=f"round {update.round}", expected=f"round {round_number}")
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
