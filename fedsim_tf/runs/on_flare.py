"""Federated runs on NVIDIA FLARE, of which each fold is a job for its simulator or for a deployed system."""

from __future__ import annotations

import dataclasses
import pathlib

from absl import logging

from fedsim_tf.config import Config
from fedsim_tf.federated.aggregation import AUTO, BOUNDED, LEAST_SITES
from fedsim_tf.federated.flare.contexts import write_contexts
from fedsim_tf.federated.flare.deployment import Deployment, carry_through
from fedsim_tf.federated.flare.jobs import FedJob, make_job, run_simulator, write_local_files
from fedsim_tf.federated.flare.kits import is_site_kit
from fedsim_tf.files import digest_json
from fedsim_tf.runs.flare_fold import COMPONENTS, FoldController, FoldExecutor
from fedsim_tf.runs.flare_member import LOCAL_FILE, Local, resolve_paths, select_local_fields, strip_local_fields
from fedsim_tf.runs.job_limits import UNLIMITED, write_limits
from fedsim_tf.runs.member_start import MemberStart
from fedsim_tf.runs.same_data import shape_model_digest
from fedsim_tf.training.run import fold_numbers


def make_fold_job(config: Config, run_name: str, fold: int, *, reports: bool) -> FedJob:
    """Return a fold as FLARE's job.

    Args:
      config: the configuration of the run.
      run_name: name of the run's folder on every machine.
      fold: number of the fold.
      reports: whether each site makes a report of its own, once it has scores of all folds.
    """
    values = strip_local_fields(config)
    controller = FoldController(values, run_name, fold)
    executor = FoldExecutor(values, run_name, fold, shape_model_digest(config), reports)
    name, federated = f"{run_name}-fold_{fold}", config.federated
    settings = digest_json([values, executor.shape_model])
    return make_job(name, controller, executor, federated.sites, quorum=federated.quorum, settings=settings)


def simulate_fold(config: Config, fold_dir: pathlib.Path, fold: int, *, cache_dir: pathlib.Path) -> None:
    """Run a fold in FLARE's simulator, which has a process for each site; all folders are within the fold's own.

    Args:
      config: the configuration of the run.
      fold_dir: the fold's folder, within the run's folder.
      fold: number of the fold.
      cache_dir: where phantoms and prepared volumes are kept.

    Raises:
      RunStopped: it has ended before it was done; a second call resumes.
    """
    root = fold_dir.resolve().parent
    least = config.federated.latents_of  # hospitals that are simulated grant whatever is asked for
    fields = resolve_paths(select_local_fields(config))
    local = Local(str(root.parent), str(cache_dir.resolve()), least_latents=least, fields=fields)
    workspace = fold_dir.resolve() / "flare"
    write_local_files(workspace / "local", LOCAL_FILE, local.to_dict(), classes=COMPONENTS)
    write_limits(workspace / "local", UNLIMITED)
    if config.federated.encrypt:
        write_contexts(workspace / "local")
    run_simulator(make_fold_job(config, root.name, fold, reports=False), config.federated.sites, workspace)


def deploy(config: Config, run_name: str, kit: pathlib.Path, *, only_fold: int | None = None) -> None:
    """Run folds on a deployed system, one job after the other; all files stay with the sites and the server.

    Args:
      config: the configuration of the run.
      run_name: name of the run's folder on every machine.
      kit: the admin's kit, a folder that `nvflare provision` has made.
      only_fold: the only fold to run; None: all.

    Raises:
      InputError: there is no such kit or fold, or the server refuses the kit.
      RunStopped: jobs have ended again and again without coming further; a second call goes on.
    """
    folds, config = fold_numbers(config, only_fold), choose_rule(config)
    deployment = Deployment(kit)
    try:
        for fold in folds:
            lacking = carry_through(deployment.run, make_fold_job(config, run_name, fold, reports=True))
            where = "each site" if config.federated.encrypt else "the server"
            logging.info("Fold %d of %s is done; its shared model lies at %s", fold, run_name, where)
            if lacking:
                late = "%s had no part in its end and has no report; the same command again catches up once it is back"
                logging.warning(late, ", ".join(lacking))
    finally:
        deployment.close()


def choose_rule(config: Config) -> Config:
    """Return a configuration for hospitals: with three or more, one bad site is borne unless the user has chosen.

    Bounded norms are what cost nothing where all are honest (docs/federated.md has the numbers).
    """
    federated = config.federated
    if federated.robust != AUTO or federated.encrypt or len(federated.sites) < LEAST_SITES:
        return config
    return dataclasses.replace(config, federated=dataclasses.replace(federated, robust=BOUNDED))


def set_up_member(start: MemberStart) -> None:
    """Write a member's local files into its kit; limits that a site has set stay as they are, but for the noise.

    Limits come first: the local file of before may hold a least noise that the new one leaves to them.
    """
    if is_site_kit(start.kit):
        write_limits(start.kit / "local", start.local.limits)
    write_local_files(start.kit / "local", LOCAL_FILE, start.local.to_dict(), classes=COMPONENTS)
