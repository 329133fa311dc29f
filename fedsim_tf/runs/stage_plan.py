"""The shared stages of a federated fold in their order, as a configuration has them."""

from __future__ import annotations

import math

from fedsim_tf.arms import DIRECT, FEDERATED_SIMULATION, federate_arms
from fedsim_tf.baselines.direct_fl import DirectFederated
from fedsim_tf.config import Config
from fedsim_tf.federated.adam_reach import measure_reach
from fedsim_tf.federated.guard import StagePlan
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.semi_supervised import SemiSupervised

_LARGEST_DRAW = 9.0  # a standard normal value beyond it is drawn once in 10^18 times


def plan_stages(config: Config) -> dict[str, StagePlan]:
    """Return the stages that the configured arms share, by name and in their order."""
    arms, unet = federate_arms(config.segmentation.arms), config.segmentation
    plan = {}
    if FEDERATED_SIMULATION in arms:
        plan[GeneratorPretraining.name] = StagePlan(config.pretraining.steps, config.pretraining.rate)
        plan[SemiSupervised.name] = StagePlan(config.semi.steps, config.semi.rate)
    if DIRECT in arms:
        plan[DirectFederated.name] = StagePlan(unet.pretraining_steps, unet.rate)
    return plan


def measure_latent_reach(config: Config) -> float:
    """Return the largest absolute value of a latent's coordinate: as it is drawn, and moved by Adam in both stages.

    Latents of unannotated volumes are drawn between the stages from the normal of those that have moved by then, whose
    unbiased variance is twice the square of their reach at most.
    """
    first, last = (
        measure_reach(one.latent_rate, None, first=0, last=one.steps) for one in (config.pretraining, config.semi)
    )
    return (1 + _LARGEST_DRAW * math.sqrt(2)) * (_LARGEST_DRAW + first) + last
