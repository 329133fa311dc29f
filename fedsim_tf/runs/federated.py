"""Federated simulation (section 2.3) and its use for segmentation at every site (lower half of Table 3)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence

from absl import logging

from fedsim_tf.errors import RunStopped
from fedsim_tf.federated.coordinator import Coordinator
from fedsim_tf.federated.encryption.encrypted_rounds import EncryptedCoordinator
from fedsim_tf.federated.encryption.sum_cipher import SumCipher, make_contexts
from fedsim_tf.federated.engines import IN_PROCESS, NVFLARE
from fedsim_tf.federated.in_process import InProcess
from fedsim_tf.federated.refusals import summarize_refused
from fedsim_tf.federated.site import Site
from fedsim_tf.files import hold_during
from fedsim_tf.models.vgg import VGG19Features
from fedsim_tf.records.fold_scores import ArmScores, ScoresBySite, has_scores, read_fold_scores
from fedsim_tf.records.run_metrics import RunMetrics
from fedsim_tf.runs.coordination import coordinate
from fedsim_tf.runs.encrypted_site import encrypt_answers
from fedsim_tf.runs.estimate import note_stage
from fedsim_tf.runs.federated_site import FoldAtSite
from fedsim_tf.runs.folds import run_to_results
from fedsim_tf.runs.results import draw_losses
from fedsim_tf.runs.start import RunStart
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.training.run import RunFolder, fold_path, site_path
from fedsim_tf.training.volumes import SiteVolumes


def run_federated(start: RunStart, *, engine: str = IN_PROCESS) -> RunMetrics | None:
    """Run the folds of a federated run over all its sites, from data to Dice at each. The same call again resumes.

    Args:
      start: what the run starts from.
      engine: `IN_PROCESS` or `NVFLARE`: all sites in this process, or each in a process of FLARE's simulator.

    Returns:
      The contents of metrics.json, or None where only some folds were asked for: a call for all finishes the run.
    """
    run = start.claim(after_stage=functools.partial(note_stage, start))

    def make(fold_run: RunFolder, fold: int) -> ScoresBySite:
        if engine == NVFLARE:
            from fedsim_tf.runs.on_flare import simulate_fold

            simulate_fold(run.config, fold_run.path, fold, cache_dir=start.cache_dir)
        else:
            with hold_during(fold_run.path):
                data = [start.open_fold(site, fold) for site in start.sites]
                run_federated_fold(fold_run, data, start.shape_model, start.vgg)
        draw_losses(fold_run, data=start.source)
        return {site: _scores(fold_run, site) for site in start.sites}

    try:
        return run_to_results(start, run, make)
    finally:
        for fold in range(run.config.data.folds):
            with contextlib.suppress(OSError):  # which would take the place of the run's own error
                for line in summarize_refused(fold_path(run.path, fold)):
                    logging.warning("fold %d so far: %s", fold, line)


def _scores(fold: RunFolder, site: str) -> Mapping[str, ArmScores]:
    """Return a site's scores of a fold.

    Raises:
      RunStopped: the site has none, because the others went on without it.
    """
    folder = site_path(fold.path, site)
    if not has_scores(folder):
        raise RunStopped(f"{fold.path}: {site} was left out before the end; the same command again goes on with it")
    return read_fold_scores(folder, site=site).sites[site]


def run_federated_fold(
    run: RunFolder, data: Sequence[SiteVolumes], ssm: StatisticalShapeModel, vgg: VGG19Features
) -> None:
    """Run all stages of a fold over all sites in this process, then the comparison of each site."""
    runs = {one.name: run.site(one.name) for one in data}
    works = {one.name: FoldAtSite(runs[one.name], one, ssm, vgg) for one in data}
    if not run.config.federated.encrypt:
        sites = [Site(name, runs[name], work) for name, work in works.items()]
        coordinate(Coordinator(run, InProcess(sites), list(runs)), run)
        return
    of_sites, of_server = map(SumCipher, make_contexts())
    encrypting = [
        encrypt_answers(Site(name, runs[name], works[name], cipher=of_sites), runs[name], of_sites) for name in runs
    ]
    coordinate(EncryptedCoordinator(run, InProcess(encrypting), list(runs), of_server), run)
