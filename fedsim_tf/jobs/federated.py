"""Federated simulation (section 2.3) and its use for segmentation at every site (lower half of Table 3)."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

from fedsim_tf.arms import DIRECT, FEDERATED_SIMULATION, at_federated_sites
from fedsim_tf.config import Config
from fedsim_tf.evaluation.galleries import segmentation_gallery
from fedsim_tf.evaluation.scores import Scores, with_likeness
from fedsim_tf.federated.engine import InProcessEngine
from fedsim_tf.federated.site import Site
from fedsim_tf.jobs.direct_fl import train_direct
from fedsim_tf.jobs.folds import run_folds
from fedsim_tf.jobs.inputs import (
    labels_of,
    open_cohort,
    open_fold,
    open_shape_model,
    open_vgg,
    source,
)
from fedsim_tf.jobs.results import draw_losses, facts, finish
from fedsim_tf.jobs.samples import draw_samples_of, show_samples
from fedsim_tf.jobs.segmentation import Samples, compare
from fedsim_tf.models import VGG19Features
from fedsim_tf.models.precision import with_resolved_precision
from fedsim_tf.shape import StatisticalShapeModel
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.segmentation import Segmenter
from fedsim_tf.training.volumes import SiteVolumes


def run_federated(
    config: Config, run_dir: str | os.PathLike, *, cache_dir: pathlib.Path, only_fold: int | None = None
) -> dict[str, Any] | None:
    """Runs every fold over all sites, from data to Dice at each site; the same call again resumes.

    Returns:
      The contents of metrics.json; None where `only_fold` was asked for: a call for all finishes the run.
    """
    config = with_resolved_precision(config)
    names = config.federated.sites
    sources = ", ".join(source(config, name) for name in names)
    logging.info("Federated over %s, preset %s", sources, config.preset)
    # Missing files end the run here, before it leaves a trace.
    cohorts = {name: open_cohort(config, name, cache_dir=cache_dir) for name in names}
    ssm, vgg = open_shape_model(config), open_vgg(config)
    run = RunFolder(run_dir, config)
    labels = {name: labels_of(config, name, larger=config.federated.more_labels) for name in names}

    def make(fold_run: RunFolder, fold: int) -> dict[str, dict[str, Scores]]:
        data = [
            open_fold(config, cohort, fold=fold, n_labelled=labels[name], cache_dir=cache_dir)
            for name, cohort in cohorts.items()
        ]
        return run_fold(fold_run, data, ssm, vgg)

    folds = run_folds(run, make, only=only_fold)
    if only_fold is not None:
        return None
    about = facts(run, cohorts, experiment="federated", data=sources, labelled=labels) | {"vgg": vgg.source}
    return finish(run, folds.scores, title=f"Federated: {sources}", about=about, stages=folds.stages)


def run_fold(
    run: RunFolder, data: list[SiteVolumes], ssm: StatisticalShapeModel, vgg: VGG19Features
) -> dict[str, dict[str, Scores]]:
    """All stages over all sites, then each site's own comparison."""
    arms = at_federated_sites(run.config.segmentation.arms)
    samples: dict[str, dict[str, Samples]] = {one.name: {} for one in data}
    if FEDERATED_SIMULATION in arms:
        samples = _simulate(run, [Site(one.name, SiteLearner(run.config, ssm, one, vgg)) for one in data])
    direct = train_direct(run, data) if DIRECT in arms else {}
    scores = {}
    for one in data:
        trained = {DIRECT: direct[one.name]} if direct else {}
        scores[one.name] = _compare_at(run, one, arms, samples[one.name], trained, vgg)
    draw_losses(run, data=", ".join(source(run.config, one.name) for one in data))
    return scores


def _simulate(run: RunFolder, sites: list[Site[SiteLearner]]) -> dict[str, dict[str, Samples]]:
    """All stages; then samples of the global distribution, rendered by each site's own network."""
    engine = InProcessEngine(run, sites)
    engine.pretrain()
    engine.semi_supervise()
    distribution = engine.latent_distribution(with_unlabelled=True)
    draw = lambda site: draw_samples_of(run.samples / site.name, site.learner, distribution, with_unlabelled=True)  # noqa: E731
    return {site.name: {FEDERATED_SIMULATION: draw(site)} for site in sites}


def _compare_at(
    run: RunFolder,
    site: SiteVolumes,
    arms: Sequence[str],
    samples: Mapping[str, Samples],
    trained: Mapping[str, Segmenter],
    vgg: VGG19Features,
) -> dict[str, Scores]:
    """What each arm is worth at one site, with pictures."""
    data = source(run.config, site.name)
    likeness = {
        arm: show_samples(
            run, site.name, run.samples / site.name, volumes, site.fully_labelled, vgg=vgg, title=f"Samples at {data}"
        )
        for arm, volumes in samples.items()
    }
    segmenters, scores = compare(run, site, arms, samples, trained=trained, prefix=f"{site.name}/")
    segmentation_gallery(
        run.pictures / f"segmentations_{site.name}.png",
        segmenters,
        site.test,
        title=f"Segmentations, {data}: truth green, found red",
    )
    return {arm: with_likeness(found, likeness.get(arm)) for arm, found in scores.items()}
