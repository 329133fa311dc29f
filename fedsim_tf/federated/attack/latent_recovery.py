"""Recover the latents of a round's batch from the gradients of the shape network, which the server sees.

The gradients of a dense layer's kernel and bias, one above the other, are [X 1]^T D with the layer's inputs X (B, n)
and the gradients D (B, m) of its outputs before the activation. Their rank is the batch's size B, and their column
space is that of the B vectors [x; 1]. An input of the layer can be read off where B is 1 (Phong et al. 2018); a larger
batch hides it among the vectors of that space whose last entry is 1, an affine set of B - 1 dimensions.

The first layer's set holds the latents z, the second layer's the values h(z) = swish(z W + b) that it gets. As the
server has W and b, the latents are the points of the first set whose h lies in the second one: m equations for B - 1
unknowns, which in general no other points of the set fulfil.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import optimize, special

from fedsim_tf.errors import InputError
from fedsim_tf.federated.update import Arrays

FIRST_LAYER, SECOND_LAYER = ("shape/0", "shape/1"), ("shape/2", "shape/3")  # kernel and bias, see `named_variables`
# Exact gradients leave a relative residual of 1e-6 or less, and the search may stop at B points of such a small one.
CONVERGED = 1e-3
_SAME = 1e-2  # relative distance of two latents below which they are one
_DRAWN, _MOST_STARTS = 4096, 512  # points that are looked at, and the best of them that least squares start from


@dataclasses.dataclass(frozen=True, eq=False)
class RecoveredLatents:
    """Latents that fit a round's gradients, those that fit best first.

    Attributes:
      latents: (n, d) float64; n is the batch's size, or less where the search has found fewer different points.
      residuals: (n,) distance of [h(z); 1] to the second layer's column space, relative to its length. Values up to
        `CONVERGED` are those of a patient's latent; with a little noise a latent nearby has a larger one.
    """

    latents: np.ndarray
    residuals: np.ndarray

    @property
    def n_exact(self) -> int:
        """The number of latents whose residual says that they are those of patients."""
        return int(np.sum(self.residuals <= CONVERGED))


def recover_latents(weights: Arrays, gradients: Arrays, batch: int) -> RecoveredLatents:
    """Return the latents of the volumes whose gradients a site has sent.

    Args:
      weights: the shared weights that the server has sent for the round, by name.
      gradients: the gradients of these that came back, by name.
      batch: how many volumes they come from, or more. Volumes without a gradient of the shape network, such as those
        of which a slice without the heart was compared, are not found.

    Returns:
      The points with the least residuals that least squares find from many starts.

    Raises:
      InputError: `batch` is not between 1 and the length of a latent.
    """
    first, second = stack_layer(gradients, FIRST_LAYER), stack_layer(gradients, SECOND_LAYER)
    length = len(first) - 1
    if not 1 <= batch <= length:
        raise InputError("batch", value=batch, must=f"be 1 to {length}, the length of a latent")
    search = _Search(weights, _column_space(first, batch), _column_space(second, batch))
    found: list[np.ndarray] = []
    for start in search.order(_affine_combinations(first)):
        _add_if_new(found, search.descend(start))
        if np.sum(search.residuals(np.array(found)) <= CONVERGED) >= batch:
            break
    latents = np.array(found)
    residuals = search.residuals(latents)
    best = np.argsort(residuals)[:batch]
    return RecoveredLatents(latents[best], residuals[best])


class _Search:
    """The affine set of candidate latents, and how far from the second layer's column space they lead.

    Args:
      weights: the shared weights by name.
      inputs: (d + 1, B) orthonormal basis of the space that holds [z; 1].
      hidden: (w + 1, B) orthonormal basis of the space that holds [h(z); 1].
    """

    def __init__(self, weights: Arrays, inputs: np.ndarray, hidden: np.ndarray):
        self._kernel, self._bias = (weights[name].astype(np.float64) for name in FIRST_LAYER)
        self._hidden = hidden
        last = inputs[-1]  # [z; 1] = inputs c, where last . c is 1
        self._origin = (inputs @ (last / (last @ last)))[:-1]
        across = np.linalg.svd(last[None])[2][1:]  # orthonormal, orthogonal to `last`
        self._directions = (inputs @ across.T)[:-1].T  # (B - 1, d), orthonormal
        # Values of the hidden layer before swish are affine in the coordinates.
        self._values_at_origin = self._origin @ self._kernel + self._bias
        self._values_along = self._directions @ self._kernel

    def order(self, points: np.ndarray) -> np.ndarray:
        """Return coordinates (n, B - 1) of points (m, d) and of some around them, by their residuals."""
        given = (points - self._origin) @ self._directions.T
        centre, spread = np.median(given, axis=0), np.median(np.abs(given), axis=0)
        noise = np.random.default_rng(0).standard_normal((_DRAWN, given.shape[1]))
        coordinates = np.concatenate([given, centre + 2.0 * spread * noise])
        return coordinates[np.argsort(self.residuals(self._place(coordinates)))][:_MOST_STARTS]

    def descend(self, start: np.ndarray) -> np.ndarray:
        """Return the latent (d,) of the local minimum that least squares reach from coordinates (B - 1,)."""
        if not len(start):
            return self._origin
        found = optimize.least_squares(self._outside, start, jac=self._jacobian, method="lm", xtol=1e-14, ftol=1e-14)
        return self._place(found.x)

    def residuals(self, latents: np.ndarray) -> np.ndarray:
        """Return the relative residual (n,) of latents (n, d)."""
        hidden = special.expit(values := latents @ self._kernel + self._bias) * values
        raised = np.concatenate([hidden, np.ones((len(hidden), 1))], axis=1)
        return np.linalg.norm(self._project_out(raised.T), axis=0) / np.linalg.norm(raised, axis=1)

    def _place(self, coordinates: np.ndarray) -> np.ndarray:
        return self._origin + coordinates @ self._directions

    def _outside(self, coordinates: np.ndarray) -> np.ndarray:
        """Return the part (w + 1,) of [h(z); 1] that lies outside the column space."""
        values = self._values(coordinates)
        return self._project_out(np.append(special.expit(values) * values, 1.0))

    def _jacobian(self, coordinates: np.ndarray) -> np.ndarray:
        values = self._values(coordinates)
        gate = special.expit(values)
        slope = gate * (1.0 + values * (1.0 - gate))  # of swish
        columns = slope[:, None] * self._values_along.T
        return self._project_out(np.concatenate([columns, np.zeros((1, columns.shape[1]))]))

    def _values(self, coordinates: np.ndarray) -> np.ndarray:
        return self._values_at_origin + coordinates @ self._values_along

    def _project_out(self, columns: np.ndarray) -> np.ndarray:
        return columns - self._hidden @ (self._hidden.T @ columns)


def stack_layer(gradients: Arrays, layer: tuple[str, str]) -> np.ndarray:
    """Return the gradients of a layer's kernel and bias, one above the other (n + 1, m), in double precision."""
    kernel, bias = (gradients[name].astype(np.float64) for name in layer)
    return np.concatenate([kernel, bias[None]])


def _column_space(stacked: np.ndarray, rank: int) -> np.ndarray:
    return np.linalg.svd(stacked, full_matrices=False)[0][:, :rank]


def _affine_combinations(stacked: np.ndarray) -> np.ndarray:
    """Return each column of stacked gradients, scaled to a last entry of 1, without it (m, n).

    The gradients of each unit are such a combination of the batch's latents. It lies near the latent of a patient who
    dominates the unit, which makes it a good start.
    """
    usable = stacked[:, np.abs(stacked[-1]) > 1e-6 * np.linalg.norm(stacked, axis=0)]
    return (usable[:-1] / usable[-1]).T


def _add_if_new(found: list[np.ndarray], latent: np.ndarray) -> None:
    if all(np.linalg.norm(latent - other) > _SAME * np.linalg.norm(latent) for other in found):
        found.append(latent)
