"""Federated simulation (section 2.3) and its use for segmentation at every site (lower half of Table 3)."""

from __future__ import annotations

import os
import pathlib
from typing import Any

from absl import logging

from fedsim_tf.arms import FEDERATED_SIMULATION, at_federated_sites
from fedsim_tf.config import Config
from fedsim_tf.evaluation.galleries import segmentation_gallery
from fedsim_tf.evaluation.scores import Scores, with_likeness
from fedsim_tf.federated.engine import InProcessEngine
from fedsim_tf.federated.site import Site
from fedsim_tf.jobs.inputs import (
    labels_of,
    needs_simulation,
    open_cohort,
    open_fold,
    open_shape_model,
    open_vgg,
    source,
)
from fedsim_tf.jobs.results import draw_losses, facts, finish
from fedsim_tf.jobs.samples import draw_samples_of, show_samples
from fedsim_tf.jobs.segmentation import compare
from fedsim_tf.models import LatentDistribution, VGG19Features
from fedsim_tf.models.precision import with_resolved_precision
from fedsim_tf.shape import StatisticalShapeModel
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.volumes import SiteVolumes


def run_federated(config: Config, run_dir: str | os.PathLike, *, cache_dir: pathlib.Path) -> dict[str, Any]:
    """Runs every fold over all sites, from data to Dice at each site; the same call again resumes.

    Returns:
      The contents of metrics.json.
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
    scores, stages = [], {}
    for fold in range(config.data.folds):
        data = [
            open_fold(config, cohort, fold=fold, n_labelled=labels[name], cache_dir=cache_dir)
            for name, cohort in cohorts.items()
        ]
        fold_run = RunFolder(run.path / f"fold_{fold}", config)
        scores.append(run_fold(fold_run, data, ssm, vgg))
        stages.update({f"fold_{fold}/{name}": record for name, record in fold_run.records().items()})
    about = facts(run, data=sources, labelled=labels, folds=len(scores), vgg=vgg.source)
    return finish(run, scores, title=f"Federated: {sources}", about=about, stages=stages)


def run_fold(
    run: RunFolder, data: list[SiteVolumes], ssm: StatisticalShapeModel, vgg: VGG19Features
) -> dict[str, dict[str, Scores]]:
    """All stages over all sites, then each site's own comparison."""
    sites = [Site(one.name, SiteLearner(run.config, ssm, one, vgg)) for one in data]
    distribution = _simulate(run, sites) if needs_simulation(run.config) else None
    scores = {site.name: _use(run, site, distribution) for site in sites}
    draw_losses(run, data=", ".join(source(run.config, site.name) for site in sites))
    return scores


def _simulate(run: RunFolder, sites: list[Site]) -> LatentDistribution:
    """All stages; returns the normal over all sites' latents."""
    engine = InProcessEngine(run, sites)
    engine.pretrain()
    engine.semi_supervise()
    return engine.latent_distribution(with_unlabelled=True)


def _use(run: RunFolder, site: Site, distribution: LatentDistribution | None) -> dict[str, Scores]:
    """Samples of the global distribution, if any, rendered by this site's network, and what they are worth there."""
    data = source(run.config, site.name)
    volumes = site.learner.data
    samples, likeness = {}, None
    if distribution is not None:
        folder = run.samples / site.name
        samples[FEDERATED_SIMULATION] = draw_samples_of(folder, site.learner, distribution, with_unlabelled=True)
        likeness = show_samples(
            run, site.name, samples[FEDERATED_SIMULATION], volumes.fully_labelled, title=f"Samples at {data}"
        )
    arms = at_federated_sites(run.config.segmentation.arms)
    segmenters, scores = compare(run, volumes, arms, samples, prefix=f"{site.name}/")
    segmentation_gallery(
        run.pictures / f"segmentations_{site.name}.png",
        segmenters,
        volumes.test,
        title=f"Segmentations, {data}: truth green, found red",
    )
    ours = lambda arm: likeness if arm == FEDERATED_SIMULATION else None  # noqa: E731
    return {arm: with_likeness(found, ours(arm)) for arm, found in scores.items()}
