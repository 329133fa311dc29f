"""Optimizers and learning-rate schedules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

TTUR_BETAS = (0.0, 0.9)  # Park et al. 2019, section 4


class ConstantThenLinear(tf.keras.optimizers.schedules.LearningRateSchedule):
    """A rate that is constant for the first half of the steps, then falls linearly to zero (Park et al. 2019)."""

    def __init__(self, rate: float | tf.Variable, steps: int | tf.Variable):
        super().__init__()
        self.rate, self.steps = rate, steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        left = 1.0 - tf.cast(step, tf.float32) / tf.cast(self.steps, tf.float32)
        return self.rate * tf.clip_by_value(2.0 * left, 0.0, 1.0)

    def get_config(self) -> dict[str, float]:
        return {"rate": float(self.rate), "steps": int(self.steps)}


class _Kept:
    """What an optimizer keeps for TensorFlow's kernel; an object of its own, so that checkpoints do not hold it.

    Attributes:
      slots: the moment of a variable, by the moment's name ("m" or "v") and the variable.
      scalars: what all variables share in one step; None before the step has made it.
    """

    def __init__(self) -> None:
        self.slots: dict[tuple[str, Any], tf.Variable] = {}
        self.scalars: dict[str, tf.Tensor] | None = None


class FusedAdam(tf.keras.optimizers.Adam):
    """Keras's Adam with each variable's update in TensorFlow's own kernel.

    Keras composes the update of a dozen operations, each of which reads and writes arrays as long as the weights. For
    the 92 million weights of the enhancement network that took a fifth of a training step. It also makes the scalars
    anew for each variable, which were a fifth of all operations that a step of the GAN traces.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._kept = _Kept()

    def add_variable_from_reference(
        self, model_variable: tf.Variable, variable_name: str, *args: Any, **kwargs: Any
    ) -> tf.Variable:
        """Make and return a moment of a variable, as Keras asks for in `build`, and keep where it is."""
        slot = super().add_variable_from_reference(model_variable, variable_name, *args, **kwargs)
        self._kept.slots[variable_name, model_variable.ref()] = slot
        return slot

    def apply_gradients(self, *args: Any, **kwargs: Any) -> tf.Tensor | None:
        """Move variables by gradients, given as for Keras's optimizers."""
        self._kept.scalars = None
        return super().apply_gradients(*args, **kwargs)

    def update_step(self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> None:
        """Move one variable by its gradient; Keras's own code does it for sparse gradients."""
        if isinstance(gradient, tf.IndexedSlices) or variable.dtype != tf.float32:
            super().update_step(gradient, variable)
            return
        handles = {name: self._kept.slots[name, variable.ref()].handle for name in ("m", "v")}
        tf.raw_ops.ResourceApplyAdam(var=variable.handle, **handles, grad=gradient, **self._scalars())

    def _scalars(self) -> dict[str, tf.Tensor]:
        if self._kept.scalars is None:
            step = tf.cast(self.iterations + 1, tf.float32)
            beta1, beta2 = tf.constant(self.beta_1), tf.constant(self.beta_2)
            self._kept.scalars = {
                "beta1_power": tf.pow(beta1, step),
                "beta2_power": tf.pow(beta2, step),
                "lr": tf.cast(self.learning_rate, tf.float32),
                "beta1": beta1,
                "beta2": beta2,
                "epsilon": tf.constant(self.epsilon),
            }
        return self._kept.scalars


def adam(
    rate: float | tf.Variable,
    variables: Sequence[tf.Variable],
    *,
    steps: int | tf.Variable | None = None,
    betas: tuple[float, float] = (0.9, 0.999),
) -> tf.keras.optimizers.Optimizer:
    """Return Adam with its slots made at once, so that checkpoints can hold and restore them.

    Args:
      rate: the learning rate.
      variables: what it will move.
      steps: length of the schedule `ConstantThenLinear`; None: the rate is constant.
      betas: decay rates of the moments.

    Rate and steps may be variables: then one optimizer, and all that was traced with it, serves several stages.
    """
    schedule = rate if steps is None else ConstantThenLinear(rate, steps)
    optimizer = FusedAdam(schedule, beta_1=betas[0], beta_2=betas[1], jit_compile=False)
    optimizer.build(list(variables))
    return optimizer
