"""The shared stages of a federated fold in their order, as a configuration has them."""

from __future__ import annotations

from fedsim_tf.arms import DIRECT, federate_arms, simulate_together
from fedsim_tf.baselines.direct_fl import DirectFederated
from fedsim_tf.config import Config
from fedsim_tf.federated.guard import StagePlan
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.semi_supervised import SemiSupervised


def plan_stages(config: Config) -> dict[str, StagePlan]:
    """Return the stages that the configured arms share, by name and in their order."""
    arms, unet = federate_arms(config.segmentation.arms), config.segmentation
    plan = {}
    if simulate_together(arms):
        accumulate = config.federated.accumulate
        plan[GeneratorPretraining.name] = StagePlan(config.pretraining.steps, config.pretraining.rate, accumulate)
        plan[SemiSupervised.name] = StagePlan(config.semi.steps, config.semi.rate, accumulate)
    if DIRECT in arms:
        plan[DirectFederated.name] = StagePlan(unet.pretraining_steps, unet.rate, "mean")
    return plan
