"""The arms with fixed materials: Ours-Fix-Mat and the ablations of Table 2."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

from fedsim_tf.arms import SINGLE_SITE, get_volumes_arm, list_volumes_arms
from fedsim_tf.baselines.blending import alpha_blend, poisson_blend
from fedsim_tf.baselines.fixed_material import Blend, FixedMaterialSite
from fedsim_tf.runs.compare_arms import Samples
from fedsim_tf.runs.samples import draw_samples, note_shape_modes, samples_folder
from fedsim_tf.training.batch_norm import settled_statistics
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.run import RunFolder


class _Recipe(NamedTuple):
    learnt_shapes: bool
    blend: Callable[[FixedMaterialSite], Blend] | None = None


def _poisson(site: FixedMaterialSite) -> Blend:
    return functools.partial(poisson_blend, rim_voxels=site.rim_voxels)


_RECIPES = {
    "ours_fix_mat": _Recipe(learnt_shapes=True),
    "random_shape": _Recipe(learnt_shapes=False),
    "alpha_blend": _Recipe(learnt_shapes=False, blend=lambda _: alpha_blend),
    "poisson_blend": _Recipe(learnt_shapes=False, blend=_poisson),
}


def simulate_fixed(run: RunFolder, begin: Callable[[], SiteLearner]) -> dict[str, Samples]:
    """Learns what the configured arms with fixed materials need and draws their synthetic volumes.

    Args:
      run: the run's folder.
      begin: makes a site's learner with its initial weights.

    Returns:
      Volumes by arm; none where no such arm is configured.
    """
    arms = [arm for arm in run.config.segmentation.arms if SINGLE_SITE[arm].simulator == "fixed"]
    if not arms:
        return {}
    learner = begin()
    site = FixedMaterialSite(learner)
    distribution = site.learn(run)
    samples: dict[str, Samples] = {}
    for one in list_volumes_arms(arms):
        recipe = _RECIPES[one]
        hearts = functools.partial(site.learnt_hearts, distribution) if recipe.learnt_shapes else site.random_hearts
        blend = recipe.blend(site) if recipe.blend else None
        folder = samples_folder(run, one)
        samples[one] = draw_samples(
            folder,
            learner.model,
            run.config,
            volumes=lambda hearts=hearts, blend=blend: site.volumes(hearts(), blend=blend),  # type: ignore[misc]
            while_drawing=functools.partial(settled_statistics, learner.model.enhancer, site.training_slices()),
        )
        if recipe.learnt_shapes:
            note_shape_modes(folder, learner, samples[one])
    return {arm: samples[get_volumes_arm(arm)] for arm in arms}
