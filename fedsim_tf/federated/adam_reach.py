"""The largest distance that Adam can move a weight, whatever the gradients are."""

from __future__ import annotations

import math

import numpy as np

from fedsim_tf.config import Config

BETAS = (0.9, 0.999)  # those of `training.optimizers.adam`, with which servers move the shared weights
_SLACK = 1e-3  # relative; the kernel computes in float32
_LARGEST_DRAW = 9.0  # a standard normal value beyond it is drawn once in 10^18 times


def measure_reach(rate: float, steps: int | None, *, first: int, last: int) -> float:
    """Return the largest distance between a weight before step `first` and the same weight before step `last`.

    Kingma and Ba 2015, section 2.1, bound a step by rate (1 - b1) / sqrt(1 - b2) for a single gradient after none, and
    by about the rate otherwise. Here is a bound for any gradients. With m_t = (1 - b1) sum_i b1^(t-i) g_i and
    v_t = (1 - b2) sum_i b2^(t-i) g_i^2, the inequality of Cauchy and Schwarz gives

      |m_t| <= (1 - b1) / sqrt(1 - b2) sqrt(sum_(k<t) (b1^2 / b2)^k) sqrt(v_t),

    and step t is rate sqrt(1 - b2^t) / (1 - b1^t) |m_t| / sqrt(v_t) at most. That is the rate in the first step, and
    7.3 times the rate for gradients that grow from step to step by b2 / b1.

    Args:
      rate: Adam's rate.
      steps: length of the schedule `ConstantThenLinear`; None: the rate is constant.
      first, last: numbers of steps, counted from 0; nothing is moved if `first` is not below `last`.
    """
    number = np.arange(first, last, dtype=np.float64)
    b1, b2 = BETAS
    ratio, t = b1**2 / b2, number + 1
    longest = (1 - b1) / np.sqrt(1 - b2) * np.sqrt((1 - ratio**t) / (1 - ratio))
    longest *= np.sqrt(1 - b2**t) / (1 - b1**t)
    rates = rate if steps is None else rate * np.clip(2 * (1 - number / steps), 0.0, 1.0)
    return float(np.sum(rates * longest)) * (1 + _SLACK)


def measure_latent_reach(config: Config) -> float:
    """Return the largest absolute value of a latent's coordinate: as it is drawn, and moved by Adam in both stages.

    Latents of unannotated volumes are drawn between the stages from the normal of those that have moved by then, whose
    unbiased variance is twice the square of their reach at most.
    """
    first, last = (
        measure_reach(one.latent_rate, None, first=0, last=one.steps) for one in (config.pretraining, config.semi)
    )
    return (1 + _LARGEST_DRAW * math.sqrt(2)) * (_LARGEST_DRAW + first) + last
