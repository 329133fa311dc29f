"""FLARE jobs: made of a controller and an executor, run in FLARE's simulator or by a deployed server."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from absl import logging
from nvflare.app_common.default_component_policy import DEFAULT_CLASS_ALLOW_LIST
from nvflare.app_common.widgets.component_path_authorizer import CLASS_ALLOW_LIST
from nvflare.job_config.api import FedJob

from fedsim_tf.errors import RunStopped
from fedsim_tf.federated.flare.controller import StageController, find_outcome
from fedsim_tf.federated.flare.executor import OutgoingFilter, SiteExecutor
from fedsim_tf.files import read_json, write_json

POLL_SECONDS = 0.1  # between a site's questions for its next task
PACKAGE = "fedsim_tf"
_CLASSES = f"{PACKAGE}."  # all classes below it
_OWN = " - absl - INFO - "
_RESOURCES, _SCOPE = "resources.json", "public"


def make_job(name: str, controller: StageController, executor: SiteExecutor, *, quorum: int) -> FedJob:
    """A job that brings settings and no code: every machine runs what is installed there.

    Args:
      name: FLARE's name for it.
      controller, executor: what the server and each site do.
      quorum: FLARE starts the job when so many sites are connected, and ends it when there are fewer.
    """
    job = FedJob(name=name, min_clients=quorum, fail_fast=True)
    job.set_app_packages([PACKAGE])
    job.to_server(controller)
    job.to_server({"server": {"task_request_interval": POLL_SECONDS}})
    job.to_clients(executor, tasks=["*"])
    job.to_clients({"default_task_fetch_interval": POLL_SECONDS})
    return job


def write_local_files(folder: pathlib.Path, settings_file: str, settings: Mapping[str, Any]) -> None:
    """Makes FLARE run this project's components on a machine, and keep back what may not leave it.

    Args:
      folder: `local` of the machine's kit, or of a simulator's workspace.
      settings_file, settings: name and contents of the file of what only this machine knows.
    """
    filters = [{"path": f"{OutgoingFilter.__module__}.{OutgoingFilter.__qualname__}", "args": {}, "direction": "out"}]
    scope = {"name": _SCOPE, "properties": {}, "task_result_filters": filters, "task_data_filters": []}
    write_json(folder / settings_file, dict(settings))
    write_json(folder / "privacy.json", {"scopes": [scope], "default_scope": _SCOPE})
    write_json(folder / _RESOURCES, _resources(folder))


def _resources(folder: pathlib.Path) -> dict[str, Any]:
    """FLARE's settings of a machine, as they are or as the kit proposes, with this project's classes allowed."""
    found = [file for file in (folder / _RESOURCES, folder / f"{_RESOURCES}.default") if file.exists()]
    resources = read_json(found[0]) if found else {}
    allowed = resources.get(CLASS_ALLOW_LIST, list(DEFAULT_CLASS_ALLOW_LIST))
    return {**resources, CLASS_ALLOW_LIST: [*(name for name in allowed if name != _CLASSES), _CLASSES]}


def simulate(job: FedJob, sites: Sequence[str], workspace: pathlib.Path) -> None:
    """Runs a job with a server and a process for each site on this machine.

    Args:
      job: the job.
      sites: their names.
      workspace: a folder for FLARE, whose folder `local` has the local files of all, see `write_local_files`.

    Raises:
      RunStopped: it ended badly; FLARE's logs are in the workspace.
    """
    log_file = workspace.with_suffix(".log")  # beside the workspace, which FLARE empties
    with tempfile.TemporaryDirectory() as folder, open(log_file, "w", encoding="utf-8") as log:
        job.export_job(folder)
        command = [sys.executable, "-m", "nvflare.private.fed.app.simulator.simulator", os.path.join(folder, job.name)]
        command += ["-w", str(workspace), "-c", ",".join(sites), "-t", str(len(sites))]
        code = _shown(command, log)
    if code:
        outcome = find_outcome(workspace)
        reason = outcome.reason if outcome else f"FLARE's simulator ended with status {code}"
        raise RunStopped(f"{reason}; see {log_file}")


def _shown(command: Sequence[str], log: TextIO) -> int:
    """Runs a command with all of its output in a log, and this project's own lines here too; its exit status."""
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        for line in started.stdout or ():
            log.write(line)
            log.flush()
            if _OWN in line:
                logging.info("%s", line.partition(_OWN)[2].rstrip())
        return started.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGTERM)  # sites that are still there, when this one is interrupted
