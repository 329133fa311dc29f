"""Single-site simulation (section 2.2) and its use for segmentation (section 3, upper half of Table 3)."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable

from absl import logging

from fedsim_tf.arms import simulators
from fedsim_tf.config import Config
from fedsim_tf.files import held
from fedsim_tf.models.vgg import VGG19Features
from fedsim_tf.records.fold_scores import ArmScores, ScoresBySite
from fedsim_tf.records.run_metrics import SINGLE_SITE_RUN, RunMetrics
from fedsim_tf.runs.compare_arms import Samples, compare_with_pictures
from fedsim_tf.runs.fixed_material_arms import samples_folder, simulate_fixed
from fedsim_tf.runs.folds import refuse_other_experiment, run_folds
from fedsim_tf.runs.inputs import (
    check_latents,
    check_single_site,
    labels_of,
    needs_simulation,
    open_annotated,
    open_fold,
    open_shape_model,
    open_vgg,
    pinned,
    source,
)
from fedsim_tf.runs.results import finish, gather_facts
from fedsim_tf.runs.same_data import check_same_data
from fedsim_tf.runs.samples import draw_samples_of
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.simulation import pretrain, semi_supervise
from fedsim_tf.training.volumes import SiteVolumes


def run_single_site(
    config: Config, run_dir: str | os.PathLike, *, cache_dir: pathlib.Path, only_fold: int | None = None
) -> RunMetrics | None:
    """Runs every fold, from data to Dice; the same call again resumes.

    Args:
      config: what to run; `config.dataset` names the site.
      run_dir: the run's folder.
      cache_dir: where the phantom cohort and prepared volumes are kept.
      only_fold: the number of the only fold to run; None: all.

    Returns:
      The contents of metrics.json; None where a single fold was asked for: a call for all finishes the run.
    """
    check_single_site(config)
    config = pinned(config)
    data = source(config, config.dataset)
    logging.info("%s, preset %s", data, config.preset)
    cohort = open_annotated(config, config.dataset, cache_dir=cache_dir)  # before the run leaves a trace
    n_labelled = labels_of(config, config.dataset)
    if needs_simulation(config):
        check_latents(n_labelled)
    ssm, vgg = open_shape_model(config), open_vgg(config)
    refuse_other_experiment(run_dir, federated=False)
    run = RunFolder(run_dir, config)

    def make(fold_run: RunFolder, fold: int) -> ScoresBySite:
        with held(fold_run.path):
            site = open_fold(config, cohort, fold=fold, n_labelled=n_labelled, cache_dir=cache_dir)
            return {config.dataset: run_single_site_fold(fold_run, site, ssm, vgg, data=f"{data}, fold {fold}")}

    folds = run_folds(run, make, only=only_fold)
    if only_fold is not None:
        return None
    facts = gather_facts(
        run, {config.dataset: cohort}, experiment=SINGLE_SITE_RUN, data=data, labelled=n_labelled, vgg=vgg.source
    )
    return finish(run, folds.scores, title=f"Single site: {data}", facts=facts, stages=folds.stages)


def run_single_site_fold(
    run: RunFolder, site: SiteVolumes, ssm: StatisticalShapeModel, vgg: VGG19Features, *, data: str
) -> dict[str, ArmScores]:
    """All stages and arms of one fold; pictures on the way."""
    check_same_data(run, site)
    begin = lambda: SiteLearner(run.config, ssm, site, vgg)  # noqa: E731
    samples = {**simulate_learnt(run, begin), **simulate_fixed(run, begin)}
    return compare_with_pictures(run, site, run.config.segmentation.arms, samples, vgg=vgg, data=data)


def simulate_learnt(run: RunFolder, begin: Callable[[], SiteLearner]) -> dict[str, Samples]:
    """Learns shape and material of this site and draws the synthetic volumes of each arm that needs such ones."""
    arms = run.config.segmentation.arms
    samples: dict[str, Samples] = {}
    if not simulators(arms) & {"pretrained", "semi_supervised"}:
        return samples
    learner = begin()
    distribution = pretrain(run, learner)
    if "ours_pre" in arms:
        folder = samples_folder(run, "ours_pre")
        samples["ours_pre"] = draw_samples_of(folder, learner, distribution, with_unlabelled=False)
    if "ours_full" in arms:
        distribution = semi_supervise(run, learner, distribution)
        folder = samples_folder(run, "ours_full")
        samples["ours_full"] = draw_samples_of(
            folder, learner, distribution, with_unlabelled=run.config.semi.learns_unannotated
        )
    return samples
