"""FLARE jobs: made of a controller and an executor, run in FLARE's simulator or by a deployed server."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from absl import logging
from nvflare.apis.job_def import JobMetaKey
from nvflare.app_common.widgets.component_path_authorizer import CLASS_ALLOW_LIST
from nvflare.job_config.api import FedJob

from fedsim_tf.errors import RunStopped
from fedsim_tf.federated.flare.controller import StageController, find_outcome
from fedsim_tf.federated.flare.executor import OutgoingFilter, SiteExecutor
from fedsim_tf.files import as_json, owners_alone, read_json, replaced, write_json

POLL_SECONDS = 0.1  # between a site's questions for its next task
PACKAGE = "fedsim_tf"
SETTINGS = "fedsim_tf_settings"
_LOG_COMPONENTS = ("site_log_streamer", "log_receiver")
# Whoever runs jobs gets no shell on a member's machine, and brings no code.
_JOBS = dict.fromkeys(("submit_job", "manage_job", "download_job", "view", "operate"), "any")
_DENIED = dict.fromkeys(("clone_job", "shell_commands", "byoc", "server-predeployed-flwr"), "none")
_PERMISSIONS = {"project_admin": _JOBS | _DENIED, "lead": _JOBS | _DENIED, "org_admin": {"view": "any"}, "member": {}}
_OWN = re.compile(r" - absl - (INFO|WARNING|ERROR) - (.*)")
_RESOURCES, _SCOPE = "resources.json", "public"


def make_job(
    name: str,
    controller: StageController,
    executor: SiteExecutor,
    sites: Sequence[str],
    *,
    quorum: int,
    settings: str = "",
) -> FedJob:
    """A job that brings settings and no code: every machine runs what is installed there.

    Args:
      name: FLARE's name for it.
      controller, executor: what the server and each site do.
      sites: who takes part; others that are connected do not.
      quorum: FLARE starts the job when so many of them are connected, and ends it when there are fewer; 0: all.
      settings: a word for what the job does; a job that is under way is only gone on with if it has the same.
    """
    noted = {JobMetaKey.CUSTOM_PROPS.value: {SETTINGS: settings}}
    job = FedJob(name=name, min_clients=quorum or len(sites), meta_props=noted, fail_fast=True)
    job.set_app_packages([PACKAGE])
    job.to_server(controller)
    job.to_server({"server": {"task_request_interval": POLL_SECONDS}})
    for site in sites:
        job.to(executor, site, tasks=["*"])
        job.to({"default_task_fetch_interval": POLL_SECONDS}, site)
    return job


def write_local_files(
    folder: pathlib.Path, settings_file: str, settings: Mapping[str, Any], *, classes: Sequence[type]
) -> None:
    """Makes FLARE run this project's components on a machine, and keep back what may not leave it.

    Args:
      folder: `local` of the machine's kit, or of a simulator's workspace.
      settings_file, settings: name and contents of the file of what only this machine knows.
      classes: the controller and executor that jobs may name; nothing else of this project can be asked for.
    """
    filters = [{"path": _path(OutgoingFilter), "args": {}, "direction": "out"}]
    scope = {"name": _SCOPE, "properties": {}, "task_result_filters": filters, "task_data_filters": []}
    with owners_alone():  # paths, and the site's secret
        write_json(folder / settings_file, dict(settings))
    _replace(folder / "privacy.json", {"scopes": [scope], "default_scope": _SCOPE})
    _replace(folder / "authorization.json", {"format_version": "1.0", "permissions": _PERMISSIONS})
    write_json(folder / _RESOURCES, _resources(folder, [_path(one) for one in (*classes, OutgoingFilter)]))


def _replace(file: pathlib.Path, values: dict[str, Any]) -> None:
    """Writes a file of FLARE's; one that was there before any of this project's is kept beside it."""
    before = file.with_name(f"{file.name}.before")
    if file.exists() and not before.exists() and file.read_bytes() != as_json(values).encode():
        with replaced(before) as copy:
            shutil.copy2(file, copy)
        logging.warning("%s: replaced; as it was: %s", file, before)
    write_json(file, values)


def _resources(folder: pathlib.Path, classes: Sequence[str]) -> dict[str, Any]:
    """FLARE's settings of a machine, as they are or as the kit proposes, but for what this project needs.

    No log is streamed to the server: a site's own log may name its files. The server keeps its jobs in its kit.
    """
    found = [file for file in (folder / _RESOURCES, folder / f"{_RESOURCES}.default") if file.exists()]
    resources = read_json(found[0]) if found else {}
    resources[CLASS_ALLOW_LIST] = list(classes)
    resources["class_list_enforcement_mode"] = "enforce"
    resources["allow_log_streaming"] = False
    components = [one for one in resources.get("components", []) if one["id"] not in _LOG_COMPONENTS]
    for one in components:
        if one["id"] == "job_scheduler":
            one.setdefault("args", {})["max_jobs"] = 1  # jobs of a run go on from one another's states
        if one["id"] == "job_manager":
            one["args"]["uri_root"] = str(folder.resolve().parent / "jobs-storage")
    if components:
        resources["components"] = components
    if "snapshot_persistor" in resources:
        storage = resources["snapshot_persistor"]["args"]["storage"]
        storage["args"]["root_dir"] = str(folder.resolve().parent / "snapshot-storage")
    return resources


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def run_simulator(job: FedJob, sites: Sequence[str], workspace: pathlib.Path) -> None:
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
        command += ["-w", str(workspace), "-c", ",".join(sites), "-t", str(len(sites)), "-l", "full"]
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
            if own := _OWN.search(line):
                logging.log(getattr(logging, own[1]), "%s", own[2])
        return started.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGTERM)  # sites that are still there, when this one is interrupted
