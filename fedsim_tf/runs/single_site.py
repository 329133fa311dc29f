"""Single-site simulation (section 2.2) and its use for segmentation (section 3, upper half of Table 3)."""

from __future__ import annotations

import functools
from collections.abc import Callable

from fedsim_tf.arms import list_volumes_arms, share_volumes, simulators
from fedsim_tf.files import hold_during
from fedsim_tf.models.vgg import VGG19Features
from fedsim_tf.records.fold_scores import ArmScores, ScoresBySite
from fedsim_tf.records.run_metrics import RunMetrics
from fedsim_tf.runs.compare_arms import Beside, Samples, compare_with_pictures
from fedsim_tf.runs.estimate import note_stage
from fedsim_tf.runs.fixed_material_arms import samples_folder, simulate_fixed
from fedsim_tf.runs.folds import run_to_results
from fedsim_tf.runs.plus_arm import PlusSite
from fedsim_tf.runs.random_arm import simulate_random
from fedsim_tf.runs.same_data import check_same_data
from fedsim_tf.runs.samples import draw_samples_of
from fedsim_tf.runs.start import RunStart
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.simulation import pretrain, semi_supervise
from fedsim_tf.training.volumes import SiteVolumes


def run_single_site(start: RunStart) -> RunMetrics | None:
    """Run the folds of a single-site run, from data to Dice. The same call again resumes.

    Args:
      start: what the run starts from; it has one site.

    Returns:
      The contents of metrics.json, or None where only some folds were asked for: a call for all finishes the run.
    """
    (site,) = start.sites
    run = start.claim(after_stage=functools.partial(note_stage, start))

    def make(fold_run: RunFolder, fold: int) -> ScoresBySite:
        with hold_during(fold_run.path):
            volumes = start.open_fold(site, fold)
            data = f"{start.source}, fold {fold}"
            return {site: run_single_site_fold(fold_run, volumes, start.shape_model, start.vgg, data=data)}

    return run_to_results(start, run, make)


def run_single_site_fold(
    run: RunFolder, site: SiteVolumes, ssm: StatisticalShapeModel, vgg: VGG19Features, *, data: str
) -> dict[str, ArmScores]:
    """Run all stages and arms of one fold, and draw their pictures."""
    check_same_data(run, site)
    begin = lambda: SiteLearner(run.config, ssm, site, vgg)  # noqa: E731
    learnt, beside = simulate_learnt(run, begin)
    samples = {**learnt, **simulate_fixed(run, begin), **simulate_random(run, begin)}
    return compare_with_pictures(run, site, run.config.segmentation.arms, samples, vgg=vgg, data=data, beside=beside)


def simulate_learnt(run: RunFolder, begin: Callable[[], SiteLearner]) -> tuple[dict[str, Samples], Beside]:
    """Learn the shapes and materials of a site and draw the synthetic volumes of the arms that use them.

    Returns:
      Volumes by arm, and what arms fine-tune on beside the annotated volumes; see `compare`.
    """
    arms = run.config.segmentation.arms
    sources, wanted = simulators(arms), list_volumes_arms(arms)
    samples: dict[str, Samples] = {}
    if not sources & {"pretrained", "semi_supervised", "plus"}:
        return samples, {}
    learner = begin()
    distribution = pretrain(run, learner)
    if "ours_pre" in wanted:
        folder = samples_folder(run, "ours_pre")
        samples["ours_pre"] = draw_samples_of(folder, learner, distribution, with_unlabelled=False)
    if sources & {"semi_supervised", "plus"}:
        distribution = semi_supervise(run, learner, distribution)
    if "ours_full" in wanted:
        folder = samples_folder(run, "ours_full")
        samples["ours_full"] = draw_samples_of(
            folder, learner, distribution, with_unlabelled=run.config.semi.learns_unannotated
        )
    beside: Beside = {}
    if "ours_plus" in wanted:
        plus = PlusSite(learner, distribution, "ours_plus")
        samples["ours_plus"], beside = plus.draw(run), plus.beside
    return share_volumes(samples, arms), share_volumes(beside, arms)
