"""Optimizers and learning-rate schedules."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

TTUR_BETAS = (0.0, 0.9)  # Park et al. 2019, section 4


class ConstantThenLinear(tf.keras.optimizers.schedules.LearningRateSchedule):
    """A constant rate for the first half of the steps, then linear to zero (Park et al. 2019)."""

    def __init__(self, rate: float | tf.Variable, steps: int | tf.Variable):
        super().__init__()
        self.rate, self.steps = rate, steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        left = 1.0 - tf.cast(step, tf.float32) / tf.cast(self.steps, tf.float32)
        return self.rate * tf.clip_by_value(2.0 * left, 0.0, 1.0)

    def get_config(self) -> dict[str, float]:
        return {"rate": float(self.rate), "steps": int(self.steps)}


def adam(
    rate: float | tf.Variable,
    variables: Sequence[tf.Variable],
    *,
    steps: int | tf.Variable | None = None,
    betas: tuple[float, float] = (0.9, 0.999),
) -> tf.keras.optimizers.Optimizer:
    """Adam with its slots made at once, so that checkpoints can hold and restore them; `steps` adds the schedule.

    Rate and steps may be variables: then one optimizer, and all that was traced with it, serves several stages.
    """
    schedule = rate if steps is None else ConstantThenLinear(rate, steps)
    optimizer = tf.keras.optimizers.Adam(schedule, beta_1=betas[0], beta_2=betas[1])
    optimizer.build(list(variables))
    return optimizer
