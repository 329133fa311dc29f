"""A deployed FLARE system as the person who submits jobs sees it."""

from __future__ import annotations

import contextlib
import datetime
import functools
import pathlib
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from absl import logging
from nvflare.apis.fl_exception import FLCommunicationError
from nvflare.apis.job_def import JobMetaKey, RunStatus
from nvflare.fuel.flare_api.api_spec import (
    AuthenticationError,
    AuthorizationError,
    InternalError,
    InvalidJobDefinition,
    InvalidTarget,
    JobNotDone,
    JobNotFound,
    NoClientsAvailable,
    NoConnection,
    NoReply,
    SessionClosed,
    SubmitTokenJobDeleted,
)
from nvflare.fuel.flare_api.flare_api import Session, new_secure_session
from nvflare.job_config.api import FedJob

from fedsim_tf.errors import InputError, RunStopped
from fedsim_tf.federated.flare.controller import JobOutcome, find_outcome
from fedsim_tf.federated.flare.jobs import SETTINGS
from fedsim_tf.federated.flare.kit_watch import ENDED
from fedsim_tf.federated.flare.kits import ADMIN_FILE, check_admin_kit
from fedsim_tf.files import read_json

_POLL_SECONDS = 2.0
_CONNECT_SECONDS = 10.0
_LOST = (NoConnection, SessionClosed)  # the server is away or starts again: ask until it is there
# May be better a little later: ask some times. A server that has just started listens before it can answer a greeting.
_FAILED = (FLCommunicationError, InternalError, JobNotDone, NoClientsAvailable, NoReply)
# Asking again would not help.
_REFUSED = (AuthorizationError, InvalidJobDefinition, InvalidTarget, JobNotFound, SubmitTokenJobDeleted)
_FAILURES = 5
_TELL_SECONDS = 60.0
_WAITS = RunStatus.SUBMITTED.value
_UNDER_WAY = (RunStatus.DISPATCHED.value, RunStatus.RUNNING.value)
ATTEMPTS = 5
FRUITFUL_SECONDS = 3600.0  # a job that lasts so long counts: sites keep states of their own, which nobody counts


class JobEnd(NamedTuple):
    """The end of a job.

    Attributes:
      status: FLARE's word for how it ended, such as "FINISHED:COMPLETED".
      outcome: what the server's process has left; None if it was killed.
      ended: why the server has ended the job, where another attempt would not come further; else "".
    """

    status: str
    outcome: JobOutcome | None
    ended: str = ""

    @property
    def is_completed(self) -> bool:
        return self.status == RunStatus.FINISHED_COMPLETED.value

    @property
    def has_come_further(self) -> bool:
        """Return whether the job has added checkpoints, as far as the server can tell."""
        return self.outcome is not None and (self.outcome.kept > 0 or self.outcome.seconds >= FRUITFUL_SECONDS)

    @property
    def reason(self) -> str:
        """Why the job was not completed, in one line."""
        if self.ended:
            return self.ended
        return self.outcome.reason if self.outcome and self.outcome.reason else f"FLARE says {self.status}"


class Deployment:
    """A FLARE server with its sites, reached with an admin's kit; a server that is away is waited for.

    Args:
      kit: the folder that `nvflare provision` made for the admin.

    Raises:
      InputError: the folder is no admin's kit.
    """

    def __init__(self, kit: pathlib.Path):
        check_admin_kit(kit)
        file = kit / "startup" / ADMIN_FILE
        try:
            admin = read_json(file)["admin"]
            self._kit, self._user = kit, admin["username"]
            place = ":".join(str(admin[name]) for name in ("host", "port") if name in admin)
            self._server = f"FLARE's server at {place or 'an unknown address'}"
        except (KeyError, TypeError, AttributeError):
            raise InputError(file, found="no name of an admin", expected="the file as provisioned") from None
        self._session: Session | None = None

    def run(self, job: FedJob) -> JobEnd:
        """Submit a job, or find the one of this name that is under way, and wait for its end.

        Server and sites may be away for any time meanwhile. A second call elsewhere watches the same job.

        Raises:
          InputError: the server refuses the kit.
          RunStopped: a job of this name and other settings runs, or the server cannot do what it is asked.
        """
        identity = self._find_unfinished(job) or self._submit(job)
        status = ""
        while True:
            about = self._read_meta(identity)
            if about["status"] != status:
                status = about["status"]
                logging.info("FLARE job %s: %s", identity, status)
            if status.startswith("FINISHED"):
                return JobEnd(status, self._download_outcome(identity), about.get(ENDED, ""))
            if self._is_left_over(about):
                return JobEnd(f"{status}, but the server has been restarted since", None)
            if status == _WAITS:
                self._log_missing_sites(job)
            time.sleep(_POLL_SECONDS)

    def _read_meta(self, identity: str) -> dict[str, Any]:
        return self._ask(lambda session: session.get_job_meta(identity))

    def _find_unfinished(self, job: FedJob) -> str | None:
        """Return the job of this name and these settings that waits or runs; abort one of other settings that waits.

        Raises:
          RunStopped: a job of other settings runs.
        """
        for listed in self._ask(lambda session: session.list_jobs(name_prefix=job.name, reverse=True)):
            identity = listed["job_id"]
            about = self._read_meta(identity) if listed["job_name"] == job.name else {"status": "FINISHED"}
            if about["status"].startswith("FINISHED") or self._is_left_over(about):
                continue
            if _read_settings(about) == _read_settings(job.job.meta_props):
                logging.info("FLARE job %s is there already: %s", job.name, identity)
                return identity
            if about["status"] in _UNDER_WAY:
                raise RunStopped(
                    f"{job.name}: FLARE's job {identity} runs with other settings; wait for its end, or end it in "
                    f"FLARE's console (abort_job {identity}), and give the command again"
                )
            logging.info("FLARE job %s of other settings was still waiting and is taken back: %s", job.name, identity)
            self._ask(functools.partial(Session.abort_job, job_id=identity))
        return None

    def _log_missing_sites(self, job: FedJob) -> None:
        missing = sorted(set(job.clients) - set(self.list_connected()))
        if missing:
            names = ", ".join(missing)
            logging.log_every_n_seconds(
                logging.WARNING, "FLARE job %s waits; not connected: %s", _TELL_SECONDS, job.name, names
            )

    def _is_left_over(self, about: dict[str, Any]) -> bool:
        """Return whether a job was under way when its server ended; FLARE 2.9 goes on calling it so for good."""
        if about["status"] not in _UNDER_WAY:
            return False
        server = self._ask(lambda session: session.get_system_info()).server_info.start_time
        start = _find_start(about)
        return start is not None and start < server

    def _submit(self, job: FedJob) -> str:
        token = uuid.uuid4().hex  # FLARE makes one job of two submissions with one token
        with tempfile.TemporaryDirectory() as folder:
            job.export_job(folder)
            path = str(pathlib.Path(folder) / job.name)
            identity = self._ask(lambda session: session.submit_job(path, submit_token=token))
        logging.info("FLARE job %s submitted: %s", job.name, identity)
        return identity

    def list_connected(self) -> list[str]:
        """Return the names of the sites that are connected."""
        return [client.name for client in self._ask(lambda session: session.get_connected_client_list())]

    def close(self) -> None:
        """End the session."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _download_outcome(self, identity: str) -> JobOutcome | None:
        with tempfile.TemporaryDirectory() as folder:
            result = self._ask(lambda session: session.download_job_result(identity, folder))
            return find_outcome(pathlib.Path(result))

    def _ask(self, question: Callable[[Session], Any]) -> Any:
        """Return the server's answer to a question, however long the server is away."""
        failures = 0
        while True:
            try:
                if self._session is None:
                    self._session = new_secure_session(self._user, str(self._kit), timeout=_CONNECT_SECONDS)
                return question(self._session)
            except AuthenticationError as error:
                found = f"one that the server refuses ({error})"
                raise InputError("kit", found=found, expected="a kit of this server's project") from None
            except _REFUSED as error:
                raise RunStopped(f"{self._server}: {type(error).__name__}, {error}") from None
            except _FAILED as error:
                failures += 1
                if failures == _FAILURES:
                    raise RunStopped(f"{self._server}: {error}; the same command again goes on") from None
            except _LOST as error:
                reason = error or type(error).__name__
                logging.warning("no answer from %s (%s); asking again", self._server, reason)
            with contextlib.suppress(Exception):  # the connection may be lost anyway
                self.close()
            self._session = None
            time.sleep(_POLL_SECONDS)


def _read_settings(about: Mapping[str, Any] | None) -> str | None:
    """Return the word for a job's settings that `make_job` has noted."""
    return ((about or {}).get(JobMetaKey.CUSTOM_PROPS.value) or {}).get(SETTINGS)


def _find_start(about: dict[str, Any]) -> float | None:
    """Return when a job was started or, before that, scheduled; in seconds since 1970."""
    if about.get("start_time"):
        return datetime.datetime.fromisoformat(about["start_time"]).timestamp()
    return about.get("last_schedule_time")


def carry_through(run: Callable[[FedJob], JobEnd], job: FedJob, *, attempts: int = ATTEMPTS) -> Sequence[str]:
    """Run a job again and again until it is completed; each time it goes on from what was kept before.

    Args:
      run: a function that runs a job to its end, such as `Deployment.run`.
      job: the job.
      attempts: how many times in a row the job may end early without a new checkpoint.

    Returns:
      The sites that had no part in its end.

    Raises:
      RunStopped: it has done so that many times, or has ended in a way that another attempt will not mend.
    """
    fruitless = 0
    while True:
        end = run(job)
        if end.is_completed:
            _log_refused(job, end)
            return end.outcome.lacking if end.outcome else ()
        if end.status == RunStatus.FINISHED_ABORTED.value:
            raise RunStopped(
                f"{job.name}: aborted in FLARE's console, or a site does not let this project's components run there "
                "(its log.txt says so: experiments.federated_member was not run on its kit); the same command again "
                "goes on from what was kept"
            )
        if end.status != RunStatus.FINISHED_CANT_SCHEDULE.value:  # this says only that sites were away for long
            fruitless = 0 if end.has_come_further else fruitless + 1
        if end.ended or (end.outcome and not end.outcome.resumable) or fruitless >= attempts:
            _log_refused(job, end)
            raise RunStopped(f"{job.name}: {end.reason}; the same command again goes on from what was kept")
        logging.warning("%s: %s; submitted again", job.name, end.reason)


def _log_refused(job: FedJob, end: JobEnd) -> None:
    """Say at a run's end which sites were left out, how often and why."""
    for line in end.outcome.refused if end.outcome else ():
        logging.warning("%s: %s", job.name, line)
