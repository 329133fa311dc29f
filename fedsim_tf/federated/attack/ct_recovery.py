"""Read patients' coarse CTs off the gradients of the material network, once the latents of the batch are known.

The gradients of that network's first dense layer, kernel above bias, are [Z 1]^T V with the batch's latents Z (B, d)
and the gradients V (B, h) of the layer's outputs before the activation. With Z known, V follows by least squares, one
row for each patient. A row is K^T q: q is the gradient of the loss by the patient's simulated CT c, and K is the
derivative of c by the layer's outputs, which the server can compute, the scan included. The squared error of a batch of
n voxels each has q = 2 (c - t) / (B n), so that q shows the patient's own coarse CT t, whether or not the networks have
learnt it. The perceptual loss adds a part to q that depends on t alone: with what was found so far it is known nearly,
and taking it off brings t nearer, again and again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from fedsim_tf.federated.attack.latent_recovery import stack_layer
from fedsim_tf.federated.update import Arrays
from fedsim_tf.losses import Features, material_losses, slice_features
from fedsim_tf.synthesis import GenerativeModel

FIRST_LAYER = ("material/0", "material/1")  # kernel and bias, see `named_variables`
ITERATIONS = 300  # of conjugate gradients; in the first rounds fewer are enough
_REFINEMENTS, _DAMPING = 25, 0.15  # whole steps jump to and fro where both losses weigh alike

Slope = Callable[[np.ndarray, np.ndarray], np.ndarray]


def recover_cts(
    model: GenerativeModel,
    gradients: Arrays,
    latents: np.ndarray,
    *,
    perceptual: Slope,
    iterations: int | None = None,
) -> np.ndarray:
    """Return the coarse CTs (B, c, c, c), in [-1, 1], of the annotated volumes that a round's gradients come from.

    Args:
      model: a generative model with the weights that the server has sent for the round.
      gradients: the gradients of these that came back, by name; not scaled down by a clipping norm.
      latents: the latents (B, d) of the whole batch.
      perceptual: the gradient of the perceptual loss by simulated CTs, given these and true ones; see
        `make_perceptual_slope`.
      iterations: of conjugate gradients; more tell finer structures. None: `ITERATIONS`.
    """
    material = model.material_generator
    hidden = tf.constant(latents, tf.float32) @ material.first.kernel + material.first.bias
    simulated = model.scan_material(material.continue_from(hidden)).numpy()
    rows = _find_rows(gradients, latents)
    slope = _solve(_Tail(model, hidden), rows, simulated.shape, iterations or ITERATIONS)
    read = lambda of_squared: np.clip(simulated - 0.5 * simulated.size * of_squared, -1.0, 1.0)  # noqa: E731
    found = read(slope)
    for _ in range(_REFINEMENTS):
        found = found + _DAMPING * (read(slope - perceptual(simulated, found)) - found)
    return found


def make_perceptual_slope(features: Features, *, weight: float) -> Slope:
    """Return the function that gives the gradient of the weighted perceptual loss of L_M by simulated CTs.

    Args:
      features: the fixed features, which are no secret.
      weight: the loss's.
    """

    @tf.function(autograph=False)
    def measure(simulated: tf.Tensor, true: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(simulated)
            loss = material_losses(features, simulated, true, slice_features(features, true))[1]
        return weight * tape.gradient(loss, simulated)

    return lambda *volumes: measure(*(tf.constant(one, tf.float32) for one in volumes)).numpy()


def _find_rows(gradients: Arrays, latents: np.ndarray) -> np.ndarray:
    """Return V (B, h), the gradients of the first layer's outputs for each latent (B, d)."""
    inputs = np.concatenate([latents, np.ones((len(latents), 1))], axis=1)
    return np.linalg.lstsq(inputs.T, stack_layer(gradients, FIRST_LAYER), rcond=None)[0]


class _Tail:
    """K and its transpose for each patient, at given outputs of the first layer (B, h), as functions of arrays."""

    def __init__(self, model: GenerativeModel, hidden: tf.Tensor):
        def simulate(values: tf.Tensor) -> tf.Tensor:
            return model.scan_material(model.material_generator.continue_from(values))

        def pull(upstream: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                tape.watch(hidden)
                product = tf.reduce_sum(simulate(hidden) * upstream)
            return tape.gradient(product, hidden)

        def push(values: tf.Tensor) -> tf.Tensor:
            at = tf.zeros_like(simulate(hidden))  # `pull` is linear: its derivative is the same everywhere
            with tf.GradientTape() as tape:
                tape.watch(at)
                product = tf.reduce_sum(pull(at) * values)
            return tape.gradient(product, at)

        self.transpose, self.forward = _as_function(pull), _as_function(push)


def _as_function(function: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[np.ndarray], np.ndarray]:
    traced = tf.function(function, autograph=False)
    return lambda values: traced(tf.constant(values, tf.float32)).numpy().astype(np.float64)


def _solve(tail: _Tail, rows: np.ndarray, shape: Any, iterations: int) -> np.ndarray:
    """Return q (B, c, c, c) with K^T q = rows for each patient, by conjugate gradients on the normal equations.

    Iterations that are left out do the work of a regularisation: rough structures come first.
    """
    lengths = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    found, left = np.zeros(shape), rows / lengths
    steepest = tail.forward(left)
    direction, slope = steepest, _dot(steepest, steepest)
    for _ in range(iterations):
        change = tail.transpose(direction)
        step = slope / np.maximum(_dot(change, change), np.finfo(np.float64).tiny)
        found = found + _spread(step, found) * direction
        left = left - _spread(step, left) * change
        steepest = tail.forward(left)
        slope, before = _dot(steepest, steepest), slope
        direction = steepest + _spread(slope / np.maximum(before, np.finfo(np.float64).tiny), direction) * direction
    return found * _spread(lengths[:, 0], found)


def _dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the inner product of each patient's part (B,)."""
    return np.einsum("bi,bi->b", first.reshape(len(first), -1), second.reshape(len(second), -1))


def _spread(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    return values.reshape(-1, *[1] * (like.ndim - 1))
