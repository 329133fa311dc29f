"""Which volumes are drawn from a generator: how many, from which seed, and what is held fixed in them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from fedsim_tf.errors import InputError
from fedsim_tf.generator.folder import GeneratorFiles
from fedsim_tf.shape.parameters import WEIGHT_LIMIT

_MOST_SEED = 2**63 - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingPlan:
    """Which volumes are drawn. Volume i is the same whatever the count, unless volumes are interpolated.

    Attributes:
      count: how many volumes.
      seed: what latents are drawn from.
      spread: a factor on the deviation of latents from their mean; 0 gives the mean alone. Where the generator changes
        hearts, it is a factor on these changes too.
      fix_shape, fix_material: the number of a sample whose shape, with its change, or material all volumes have.
      interpolate: the numbers of two samples. Volumes lie between them, both ends included, at equal steps of the
        latent and of the noise behind the change of the heart.
      modes: by the number of a mode of the shape model, counted from 0, the weight in standard deviations that all
        shapes have.

    Raises:
      InputError: a value outside its limits.
    """

    count: int
    seed: int = 0
    spread: float = 1.0
    fix_shape: int | None = None
    fix_material: int | None = None
    interpolate: tuple[int, int] | None = None
    modes: Mapping[int, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_number("count", self.count, low=1)
        _check_number("seed", self.seed, low=0, high=_MOST_SEED)
        for name in ("fix_shape", "fix_material"):
            if getattr(self, name) is not None:
                _check_number(name, getattr(self, name), low=0)
        if not (math.isfinite(self.spread) and self.spread >= 0):
            raise InputError("spread", value=self.spread, must="be a finite number, 0 or more")
        if self.interpolate is not None:
            self._check_interpolation(self.interpolate)

    def _check_interpolation(self, ends: tuple[int, int]) -> None:
        shown = ",".join(map(str, ends))
        if len(ends) != 2 or min(ends) < 0 or ends[0] == ends[1]:
            raise InputError("interpolate", value=shown, must="be the numbers of two samples, such as 0,5")
        if self.count < 2:
            raise InputError("count", value=self.count, must="be at least 2 to interpolate: both ends are drawn")

    @property
    def drawn(self) -> int:
        """The number of samples that have to be drawn for these volumes."""
        ends = self.interpolate or ()
        fixed = [number for number in (self.fix_shape, self.fix_material, *ends) if number is not None]
        return 1 + max([0 if ends else self.count - 1, *fixed])


def parse_modes(text: str) -> dict[int, float]:
    """Return the weights of modes that a user writes as `0:2.0,3:-1`.

    Raises:
      InputError: text of another form, or a mode that comes twice.
    """
    modes: dict[int, float] = {}
    for part in filter(None, text.split(",")):
        number, _, weight = part.partition(":")
        try:
            mode, value = int(number), float(weight)
        except ValueError:
            raise InputError("modes", value=repr(text), must="be modes with weights, such as 0:2.0,3:-1") from None
        if mode in modes:
            raise InputError("modes", value=repr(text), must=f"have mode {mode} once")
        modes[mode] = value
    return modes


def check_mode_weights(modes: Mapping[int, float], n_modes: int) -> None:
    """Refuse modes that a shape model does not have, and weights beyond what the shape network learns.

    Raises:
      InputError: names the mode.
    """
    for mode, weight in modes.items():
        if not 0 <= mode < n_modes:
            raise InputError("modes", value=f"{mode}:{weight:g}", must=f"name modes from 0 to {n_modes - 1}")
        if not abs(weight) <= WEIGHT_LIMIT:
            must = f"have weights within {WEIGHT_LIMIT:g} standard deviations"
            raise InputError("modes", value=f"{mode}:{weight:g}", must=must)


def check_rendering(files: GeneratorFiles, rendering: GeneratorFiles) -> None:
    """Refuse to render the shapes and materials of one generator as another one, if their sizes or labels differ.

    Whether an enhancement network sees slices or whole volumes makes no difference: both are given a coarse CT and a
    label.

    Raises:
      InputError: the subject is "rendering".
    """
    own, other = files.config.model, rendering.config.model
    for name in ("size", "coarse_size", "labels", "simulated_energy_kev"):
        wanted, found = getattr(own, name), getattr(other, name)
        if wanted != found:
            must = f"have {name} {wanted} as {files.path} has, not {found}"
            raise InputError("rendering", value=rendering.path, must=must)


def _check_number(name: str, value: int, *, low: int, high: int | None = None) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(name, value=value, must="be a whole number")
    if value < low:
        raise InputError(name, value=value, must=f"be at least {low}")
    if high is not None and value > high:
        raise InputError(name, value=value, must=f"be at most {high}")
