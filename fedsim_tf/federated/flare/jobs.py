"""FLARE jobs, which are made of a controller and an executor and run in FLARE's simulator or on a deployed server."""

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
from fedsim_tf.federated.flare.kit_watch import KitReport, KitWatch
from fedsim_tf.federated.flare.kits import SERVER_FILE, SITE_FILE
from fedsim_tf.files import format_json, make_files_private, read_json, write_atomically, write_json

_POLL_SECONDS = 0.1  # between a site's questions for its next task
PACKAGE = "fedsim_tf"
SETTINGS = "fedsim_tf_settings"
_LOG_COMPONENTS = ("site_log_streamer", "log_receiver")
# Those who run jobs get no shell on a member's machine and bring no code.
_JOBS = dict.fromkeys(("submit_job", "manage_job", "download_job", "view", "operate"), "any")
_DENIED = dict.fromkeys(("clone_job", "shell_commands", "byoc", "server-predeployed-flwr"), "none")
_PERMISSIONS = {"project_admin": _JOBS | _DENIED, "lead": _JOBS | _DENIED, "org_admin": {"view": "any"}, "member": {}}
_OWN = re.compile(r" - absl - (INFO|WARNING|ERROR) - (.*)")
_RESOURCES, _SCOPE = "resources.json", "public"
WATCH_FILE = f"{PACKAGE}__p_resources.json"  # FLARE adds such files to its settings of a member's own process


def make_job(
    name: str,
    controller: StageController,
    executor: SiteExecutor,
    sites: Sequence[str],
    *,
    quorum: int,
    settings: str = "",
) -> FedJob:
    """Return a job that brings settings and no code: every machine runs what is installed there.

    Args:
      name: FLARE's name of the job.
      controller: the server's component.
      executor: each site's component.
      sites: names of the sites that take part; others that are connected do not.
      quorum: FLARE starts the job when so many of them are connected, and ends it when there are fewer; 0: all.
      settings: a word for what the job does; a job under way is only watched if it has the same.
    """
    noted = {JobMetaKey.CUSTOM_PROPS.value: {SETTINGS: settings}}
    job = FedJob(name=name, min_clients=quorum or len(sites), meta_props=noted, fail_fast=True)
    job.set_app_packages([PACKAGE])
    job.to_server(controller)
    job.to_server({"server": {"task_request_interval": _POLL_SECONDS}})
    for site in sites:
        job.to(executor, site, tasks=["*"])
        job.to({"default_task_fetch_interval": _POLL_SECONDS}, site)
    return job


def write_local_files(
    folder: pathlib.Path, settings_file: str, settings: Mapping[str, Any], *, classes: Sequence[type]
) -> None:
    """Write the files by which FLARE runs this project's components on a machine and keeps back what may not leave it.

    Args:
      folder: the folder `local` of the machine's kit, or of a simulator's workspace.
      settings_file: name of the file with what only this machine knows.
      settings: the contents of that file.
      classes: the controllers and executors that jobs may name; FLARE refuses all other classes.
    """
    filters = [{"path": class_path(OutgoingFilter), "args": {}, "direction": "out"}]
    scope = {"name": _SCOPE, "properties": {}, "task_result_filters": filters, "task_data_filters": []}
    with make_files_private():  # the file has paths and the site's secret in it
        write_json(folder / settings_file, dict(settings))
    _replace(folder / "privacy.json", {"scopes": [scope], "default_scope": _SCOPE})
    _replace(folder / "authorization.json", {"format_version": "1.0", "permissions": _PERMISSIONS})
    write_json(folder / _RESOURCES, _make_resources(folder, [class_path(one) for one in (*classes, OutgoingFilter)]))
    for name, kind in ((SERVER_FILE, KitWatch), (SITE_FILE, KitReport)):
        if (folder.parent / "startup" / name).is_file():  # a simulator's workspace has neither
            write_json(folder / WATCH_FILE, {"components": [{"id": "kit_watch", "path": class_path(kind), "args": {}}]})


def _replace(file: pathlib.Path, values: dict[str, Any]) -> None:
    """Write a file of FLARE's; the one that was there before any of this project's is kept beside it."""
    before = file.with_name(f"{file.name}.before")
    if file.exists() and not before.exists() and file.read_bytes() != format_json(values).encode():
        with write_atomically(before) as copy:
            shutil.copy2(file, copy)
        logging.warning("%s is replaced; a copy of what was there is %s", file, before)
    write_json(file, values)


def _make_resources(folder: pathlib.Path, classes: Sequence[str]) -> dict[str, Any]:
    """Return FLARE's settings of a machine, or those that its kit proposes, with what this project needs.

    No log is streamed to the server, as a site's log may name its files. The server keeps its jobs in its kit.
    """
    found = [file for file in (folder / _RESOURCES, folder / f"{_RESOURCES}.default") if file.exists()]
    resources = read_json(found[0]) if found else {}
    resources[CLASS_ALLOW_LIST] = list(classes)
    resources["class_list_enforcement_mode"] = "enforce"
    resources["allow_log_streaming"] = False
    components = [one for one in resources.get("components", []) if one["id"] not in _LOG_COMPONENTS]
    for one in components:
        if one["id"] == "job_scheduler":
            one.setdefault("args", {})["max_jobs"] = 1  # each job of a run goes on from the states of the one before
        if one["id"] == "job_manager":
            one["args"]["uri_root"] = str(folder.resolve().parent / "jobs-storage")
    if components:
        resources["components"] = components
    if "snapshot_persistor" in resources:
        storage = resources["snapshot_persistor"]["args"]["storage"]
        storage["args"]["root_dir"] = str(folder.resolve().parent / "snapshot-storage")
    return resources


def class_path(kind: type) -> str:
    """Return the path by which FLARE's settings name a class."""
    return f"{kind.__module__}.{kind.__qualname__}"


def run_simulator(job: FedJob, sites: Sequence[str], workspace: pathlib.Path) -> None:
    """Run a job on this machine, with a process for the server and one for each site.

    Args:
      job: the job.
      sites: names of the sites.
      workspace: a folder for FLARE; its folder `local` has the local files of all members, see `write_local_files`.

    Raises:
      RunStopped: the job has failed; FLARE's logs are in the workspace.
    """
    log_file = workspace.with_suffix(".log")  # beside the workspace, as FLARE empties that
    with tempfile.TemporaryDirectory() as folder, open(log_file, "w", encoding="utf-8") as log:
        job.export_job(folder)
        command = [sys.executable, "-m", "nvflare.private.fed.app.simulator.simulator", os.path.join(folder, job.name)]
        command += ["-w", str(workspace), "-c", ",".join(sites), "-t", str(len(sites)), "-l", "full"]
        code = _run_logged(command, log)
    if code:
        outcome = find_outcome(workspace)
        reason = outcome.reason if outcome else f"FLARE's simulator ended with status {code}"
        raise RunStopped(f"{reason}; see {log_file}")


def _run_logged(command: Sequence[str], log: TextIO) -> int:
    """Run a command, write its output to `log` and this project's own lines to this log too; return its status."""
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
            os.killpg(started.pid, signal.SIGTERM)  # an interruption would leave the sites' processes
