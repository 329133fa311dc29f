"""Settings of the group-wise registration."""

from __future__ import annotations

import dataclasses
import math

from fedsim_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class RegistrationOptions:
    """The settings of `register_groupwise`; the defaults suit adult hearts in mm.

    Attributes:
      components: approximate number of vertices of the template, which are the mixture's components.
      points: approximate number of points of each heart that the mixture sees.
      fine_points: approximate number of points of each heart in the fine stage.
      sigma_mm: least spread of the mixture while similarity transforms are sought.
      least_sigma_mm: least spread at the last coherent iteration.
      fine_sigma_mm: spread at the end of the fine stage.
      most_kappa: greatest concentration of the normals, so that they do not outweigh the positions.
      beta_mm: width of the kernel of the coherent displacement; a wider one is smoother.
      stiffness: lambda; the expected displacement is 1/sqrt(lambda) mm.
      fine_beta_mm: width of the kernel in the fine stage, on top of the coherent displacement.
      fine_stiffness: lambda in the fine stage.
      rank: number of eigenpairs of the kernel that are kept.
      rigid_iterations: iterations of similarity transforms and a free group mean.
      coherent_iterations: iterations of displacements of the template, which becomes the mean after each.
      sweeps: EM steps in each coherent iteration.
      fine_iterations: iterations of small displacements towards many more points of the surface.
      projections: final steps along the normal onto the surface.
      workers: threads over subjects; the result does not depend on it.
      seed: seed of the points that are drawn.

    Raises:
      InputError: a value out of its range.
    """

    components: int = 4000
    points: int = 4000
    fine_points: int = 16000
    sigma_mm: float = 8.0
    least_sigma_mm: float = 2.0
    fine_sigma_mm: float = 1.5
    most_kappa: float = 10.0
    beta_mm: float = 20.0
    stiffness: float = 0.02
    fine_beta_mm: float = 10.0
    fine_stiffness: float = 0.2
    rank: int = 300
    rigid_iterations: int = 15
    coherent_iterations: int = 15
    sweeps: int = 3
    fine_iterations: int = 8
    projections: int = 4
    workers: int = 2
    seed: int = 0

    def __post_init__(self):
        for name in ("components", "points", "fine_points", "rank", "coherent_iterations", "sweeps", "workers"):
            self._whole(name, least=1)
        for name in ("rigid_iterations", "fine_iterations", "projections", "seed"):
            self._whole(name, least=0)
        for name in (
            *("sigma_mm", "least_sigma_mm", "fine_sigma_mm", "most_kappa"),
            *("beta_mm", "stiffness", "fine_beta_mm", "fine_stiffness"),
        ):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
                raise InputError(name, found=value, expected="a positive number")

    def _whole(self, name: str, *, least: int) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise InputError(name, found=value, expected=f"a whole number from {least} up")
