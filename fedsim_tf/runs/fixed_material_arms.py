"""The arms with fixed materials: Ours-Fix-Mat and the ablations of Table 2."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from fedsim_tf.arms import ARMS, PLAIN_GAN_ARM, list_volumes_arms, share_volumes
from fedsim_tf.baselines.blending import alpha_blend, poisson_blend
from fedsim_tf.baselines.fixed_material import Blend, FixedMaterialSite, Heart, blend_volume
from fedsim_tf.runs.compare_arms import Samples
from fedsim_tf.runs.samples import draw_samples, note_shape_modes, samples_folder
from fedsim_tf.synthesis import SyntheticVolume
from fedsim_tf.training.batch_norm import settle_statistics
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.run import RunFolder


class _Recipe(NamedTuple):
    hearts: str  # "learnt", "random" or "scattered"
    blend: Callable[[FixedMaterialSite], Blend] | None = None
    augmented_gan: bool = True


def _poisson(site: FixedMaterialSite) -> Blend:
    return functools.partial(poisson_blend, rim_voxels=site.rim_voxels)


_RECIPES = {
    "ours_fix_mat": _Recipe("learnt"),
    PLAIN_GAN_ARM: _Recipe("learnt", augmented_gan=False),
    "random_place": _Recipe("scattered"),
    "random_shape": _Recipe("random"),
    "alpha_blend": _Recipe("random", blend=lambda _: alpha_blend),
    "poisson_blend": _Recipe("random", blend=_poisson),
}


class _Renderings:
    """Volumes that are rendered when they are first iterated over, and kept for the arms that blend them otherwise."""

    def __init__(self, render: Callable[[], Iterator[SyntheticVolume]]):
        self._render = render
        self._kept: list[SyntheticVolume] | None = None

    def __iter__(self) -> Iterator[SyntheticVolume]:
        if self._kept is not None:
            yield from self._kept
            return
        volumes = []
        for volume in self._render():
            volumes.append(volume)
            yield volume
        self._kept = volumes


def simulate_fixed(run: RunFolder, begin: Callable[[], SiteLearner]) -> dict[str, Samples]:
    """Learn what the configured arms with fixed materials need and draw their synthetic volumes.

    Args:
      run: the run's folder.
      begin: makes a site's learner with its initial weights.

    Returns:
      Volumes by arm; none where no such arm is configured.
    """
    arms = [arm for arm in run.config.segmentation.arms if ARMS[arm].simulator == "fixed"]
    if not arms:
        return {}
    wanted = list_volumes_arms(arms)
    samples: dict[str, Samples] = {}
    for augmented_gan in (True, False):
        some = [arm for arm in wanted if _RECIPES[arm].augmented_gan is augmented_gan]
        if some:
            samples |= _simulate(run, begin(), some, augmented_gan=augmented_gan)
    return share_volumes(samples, arms)


def _simulate(run: RunFolder, learner: SiteLearner, arms: Iterable[str], *, augmented_gan: bool) -> dict[str, Samples]:
    """Learn shapes and one enhancement network, and draw the volumes of the arms that it renders."""
    site = FixedMaterialSite(learner, augmented_gan=augmented_gan)
    learnt_hearts = functools.partial(site.learnt_hearts, site.learn(run))
    render = functools.partial(_render, site, learner)
    hearts = {"learnt": learnt_hearts, "random": site.random_hearts, "scattered": site.scattered_hearts}
    renderings = {kind: _Renderings(functools.partial(render, drawn)) for kind, drawn in hearts.items()}
    samples: dict[str, Samples] = {}
    for one in arms:
        recipe = _RECIPES[one]
        folder, blend = samples_folder(run, one), recipe.blend(site) if recipe.blend else None
        volumes = functools.partial(_blend, renderings[recipe.hearts], blend)
        samples[one] = draw_samples(folder, learner.model, run.config, volumes=volumes)
        if recipe.hearts == "learnt":
            note_shape_modes(folder, learner, samples[one])
    return samples


def _render(
    site: FixedMaterialSite, learner: SiteLearner, hearts: Callable[[], Iterator[Heart]]
) -> Iterator[SyntheticVolume]:
    with settle_statistics(learner.model.enhancer, site.training_slices()):
        yield from site.volumes(hearts())


def _blend(volumes: Iterable[SyntheticVolume], blend: Blend | None) -> Iterator[SyntheticVolume]:
    return iter(volumes) if blend is None else (blend_volume(volume, blend) for volume in volumes)
