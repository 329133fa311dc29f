"""Federated runs on NVIDIA FLARE: a fold as a job, in its simulator or on a deployed system."""

from __future__ import annotations

import pathlib

from absl import logging

from fedsim_tf.config import Config, make_config
from fedsim_tf.errors import InputError
from fedsim_tf.federated.flare.deployment import Deployment, carry_through
from fedsim_tf.federated.flare.jobs import FedJob, make_job, run_simulator, write_local_files
from fedsim_tf.files import digest
from fedsim_tf.runs.flare_fold import COMPONENTS, FoldController, FoldExecutor
from fedsim_tf.runs.flare_member import LOCAL_FILE, Local, absolute_fields, local_fields, travelling
from fedsim_tf.runs.inputs import check_files, describe_source, open_cohort
from fedsim_tf.runs.same_data import shape_model_digest
from fedsim_tf.training.run import fold_numbers


def fold_job(config: Config, run_name: str, fold: int, *, reports: bool) -> FedJob:
    """A fold as FLARE's job; see `FoldController` and `FoldExecutor`."""
    values = travelling(config)
    controller = FoldController(values, run_name, fold)
    executor = FoldExecutor(values, run_name, fold, shape_model_digest(config), reports)
    name, federated = f"{run_name}-fold_{fold}", config.federated
    settings = digest([values, executor.shape_model])
    return make_job(name, controller, executor, federated.sites, quorum=federated.quorum, settings=settings)


def simulate_fold(config: Config, fold_dir: pathlib.Path, fold: int, *, cache_dir: pathlib.Path) -> None:
    """A fold of a run in FLARE's simulator, a process for each site, all with their folders in the fold's own.

    Raises:
      RunStopped: it ended before it was done; a second call goes on.
    """
    root = fold_dir.resolve().parent
    least = config.federated.latents_of  # who simulates hospitals decides for all of them
    fields = absolute_fields(local_fields(config))
    local = Local(str(root.parent), str(cache_dir.resolve()), least_latents=least, fields=fields)
    workspace = fold_dir.resolve() / "flare"
    write_local_files(workspace / "local", LOCAL_FILE, local.to_dict(), classes=COMPONENTS)
    run_simulator(fold_job(config, root.name, fold, reports=False), config.federated.sites, workspace)


def deploy(config: Config, run_name: str, kit: pathlib.Path, *, only_fold: int | None = None) -> None:
    """All folds on a deployed system, one job after the other; what sites and server make stays with them.

    Raises:
      InputError: no such kit, or one of another project; no such fold.
      RunStopped: jobs ended again and again without coming further; a second call goes on.
    """
    folds = fold_numbers(config, only_fold)
    deployment = Deployment(kit)
    try:
        for fold in folds:
            lacking = carry_through(deployment.run, fold_job(config, run_name, fold, reports=True))
            logging.info("Fold %d of %s is done; its shared model lies at the server", fold, run_name)
            if lacking:
                late = "%s had no part in its end and no report; once it is back, the same command again takes it up"
                logging.warning(late, ", ".join(lacking))
    finally:
        deployment.close()


def set_up_member(kit: pathlib.Path, local: Local, *, check: str | None) -> str:
    """Writes a member's local files into its kit.

    Args:
      kit: the folder that `nvflare provision` made for the server or a site.
      local: what only this machine knows.
      check: the site whose data has to be there; None for the server, which has none.

    Returns:
      What was found, in a few words.

    Raises:
      InputError: no such kit, data or another file that is not there, too few annotated patients for the three parts
        of a fold, or something else where runs are to be kept.
    """
    startup = kit / "startup"
    if not any((startup / name).is_file() for name in ("fed_client.json", "fed_server.json")):
        raise InputError("--kit", found=str(kit), expected="the folder of a server's or a site's kit")
    runs = pathlib.Path(local.runs_dir)
    if runs.exists() and not runs.is_dir():
        raise InputError("--runs_dir", found=f"{runs}, a file", expected="a folder, which may be made later")
    found = "no data, as a server has none"
    if check is not None:
        config = local.applied(make_config("demo").to_dict())
        check_files(config)
        dataset = local.dataset or check
        cohort = open_cohort(config, dataset, cache_dir=pathlib.Path(local.cache_dir))
        cohort.fold(0, seed=config.data.split_seed)
        annotated = f"{len(cohort.annotated)} of {len(cohort.files)} annotated"
        found = f"{describe_source(config, dataset)}: {annotated}; this site gives {local.grants}"
    write_local_files(kit / "local", LOCAL_FILE, local.to_dict(), classes=COMPONENTS)
    return found
