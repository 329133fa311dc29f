"""Federated simulation (section 2.3) and its use for segmentation at every site (lower half of Table 3)."""

from __future__ import annotations

import importlib.util
import os
import pathlib
from collections.abc import Mapping, Sequence

from absl import logging

from fedsim_tf.config import Config
from fedsim_tf.errors import InputError, RunStopped
from fedsim_tf.federated.coordinator import Coordinator
from fedsim_tf.federated.in_process import InProcess
from fedsim_tf.federated.site import Site
from fedsim_tf.files import held
from fedsim_tf.models.vgg import VGG19Features
from fedsim_tf.records.fold_scores import ArmScores, ScoresBySite, has_scores, read_fold_scores
from fedsim_tf.records.run_metrics import FEDERATED_RUN, RunMetrics
from fedsim_tf.runs.coordination import coordinate
from fedsim_tf.runs.federated_site import FoldAtSite
from fedsim_tf.runs.folds import refuse_other_experiment, run_folds
from fedsim_tf.runs.inputs import labels_of, open_annotated, open_fold, open_shape_model, open_vgg, pinned, source
from fedsim_tf.runs.results import draw_losses, finish, gather_facts
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.training.run import RunFolder, site_path
from fedsim_tf.training.volumes import SiteVolumes

ENGINES = IN_PROCESS, NVFLARE = "in_process", "nvflare"


def run_federated(
    config: Config,
    run_dir: str | os.PathLike,
    *,
    cache_dir: pathlib.Path,
    only_fold: int | None = None,
    engine: str = IN_PROCESS,
) -> RunMetrics | None:
    """Runs every fold over all sites, from data to Dice at each site; the same call again resumes.

    Args:
      config: what to run.
      run_dir: the run's folder.
      cache_dir: where phantoms and prepared volumes are kept.
      only_fold: the only fold to run.
      engine: of `ENGINES`: all sites in this process, or in FLARE's simulator, where each has its own.

    Returns:
      The contents of metrics.json; None where `only_fold` was asked for: a call for all finishes the run.
    """
    config = pinned(config)
    if engine == NVFLARE:
        check_flare()
    names = config.federated.sites
    sources = ", ".join(source(config, name) for name in names)
    logging.info("Federated over %s, preset %s", sources, config.preset)
    # Missing files end the run here, before it leaves a trace.
    larger = config.federated.more_labels
    cohorts = {name: open_annotated(config, name, cache_dir=cache_dir, larger=larger) for name in names}
    ssm, vgg = open_shape_model(config), open_vgg(config)
    refuse_other_experiment(run_dir, federated=True)
    run = RunFolder(run_dir, config)
    labels = {name: labels_of(config, name, larger=larger) for name in names}

    def make(fold_run: RunFolder, fold: int) -> ScoresBySite:
        if engine == NVFLARE:
            from fedsim_tf.runs.on_flare import simulate_fold

            simulate_fold(config, fold_run.path, fold, cache_dir=cache_dir)
        else:
            with held(fold_run.path):
                data = [
                    open_fold(config, cohort, fold=fold, n_labelled=labels[name], cache_dir=cache_dir)
                    for name, cohort in cohorts.items()
                ]
                run_federated_fold(fold_run, data, ssm, vgg)
        draw_losses(fold_run, data=sources)
        return {name: _scores(fold_run, name) for name in names}

    folds = run_folds(run, make, only=only_fold)
    if only_fold is not None:
        return None
    facts = gather_facts(run, cohorts, experiment=FEDERATED_RUN, data=sources, labelled=labels, vgg=vgg.source)
    return finish(run, folds.scores, title=f"Federated: {sources}", facts=facts, stages=folds.stages)


def _scores(fold: RunFolder, site: str) -> Mapping[str, ArmScores]:
    """A site's scores of a fold.

    Raises:
      RunStopped: it has none, as the others went on without it.
    """
    folder = site_path(fold.path, site)
    if not has_scores(folder):
        raise RunStopped(f"{fold.path}: {site} was left out before its end; the same command again takes it up there")
    return read_fold_scores(folder, site=site).sites[site]


def run_federated_fold(
    run: RunFolder, data: Sequence[SiteVolumes], ssm: StatisticalShapeModel, vgg: VGG19Features
) -> None:
    """All stages over all sites in this process, then each site's own comparison."""
    runs = {one.name: run.site(one.name) for one in data}
    sites = [Site(one.name, runs[one.name], FoldAtSite(runs[one.name], one, ssm, vgg)) for one in data]
    coordinate(Coordinator(run, InProcess(sites), list(runs)), run)


def check_flare() -> None:
    """Refuses what needs NVIDIA FLARE where it is not installed.

    Raises:
      InputError: says how to install it.
    """
    if importlib.util.find_spec("nvflare") is None:
        raise InputError("--engine", found="no nvflare", expected="pip install 'fedsim-tf[federated]'")
