"""The arms that learn from volumes of random contrasts."""

from __future__ import annotations

from collections.abc import Callable

from fedsim_tf.arms import list_volumes_arms, share_volumes
from fedsim_tf.baselines.random_contrast import RandomContrastSite
from fedsim_tf.runs.compare_arms import Samples
from fedsim_tf.runs.samples import draw_samples, samples_folder
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.run import RunFolder

ARM = "random_contrast"


def simulate_random(run: RunFolder, begin: Callable[[], SiteLearner]) -> dict[str, Samples]:
    """Draw the volumes of random contrasts, as many as Ours-Plus has.

    Args:
      run: the run's folder.
      begin: makes a site's learner with its initial weights.

    Returns:
      Volumes by arm; none where no such arm is configured.
    """
    arms, count = run.config.segmentation.arms, run.config.plus.volumes
    if ARM not in list_volumes_arms(arms):
        return {}
    learner = begin()
    volumes = lambda: RandomContrastSite(learner).volumes(count)  # noqa: E731
    samples = draw_samples(samples_folder(run, ARM), learner.model, run.config, volumes=volumes, count=count)
    return share_volumes({ARM: samples}, arms)
