"""A deployed FLARE system, as the one who submits jobs sees it."""

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
from fedsim_tf.files import read_json

_POLL_SECONDS = 2.0
_CONNECT_SECONDS = 10.0
_LOST = (NoConnection, SessionClosed)  # while the server is away or starts again
_FAILED = (InternalError, JobNotDone, NoClientsAvailable, NoReply)  # which may be better a little later
# Which asking again does not mend.
_REFUSED = (AuthorizationError, InvalidJobDefinition, InvalidTarget, JobNotFound, SubmitTokenJobDeleted)
_FAILURES = 5
_TELL_SECONDS = 60.0
_WAITS = RunStatus.SUBMITTED.value
_UNDER_WAY = (RunStatus.DISPATCHED.value, RunStatus.RUNNING.value)
ATTEMPTS = 5
FRUITFUL_SECONDS = 3600.0  # sites keep states of what they do alone, which the server does not count


class JobEnd(NamedTuple):
    """How a job ended.

    Attributes:
      status: FLARE's word for it, such as "FINISHED:COMPLETED".
      outcome: what the server's process left, None where it was killed.
    """

    status: str
    outcome: JobOutcome | None

    @property
    def completed(self) -> bool:
        return self.status == RunStatus.FINISHED_COMPLETED.value

    @property
    def came_further(self) -> bool:
        """Whether there are states now that were not there before, as far as the server can tell."""
        return self.outcome is not None and (self.outcome.kept > 0 or self.outcome.seconds >= FRUITFUL_SECONDS)

    @property
    def reason(self) -> str:
        """Why it did not complete, in one line."""
        return self.outcome.reason if self.outcome and self.outcome.reason else f"FLARE says {self.status}"


class Deployment:
    """A FLARE server with its sites, through an admin's kit; waits for a server that is away.

    Args:
      kit: the folder that `nvflare provision` made for the admin.

    Raises:
      InputError: no such kit.
    """

    def __init__(self, kit: pathlib.Path):
        file = kit / "startup" / "fed_admin.json"
        if not file.is_file():
            raise InputError("--flare_kit", found=f"no {file}", expected="the folder of an admin's kit")
        self._kit, self._user = kit, read_json(file)["admin"]["username"]
        self._session: Session | None = None

    def run(self, job: FedJob) -> JobEnd:
        """Submits a job, or finds the one of this name that is under way, and waits for its end.

        However long server or sites are away meanwhile; a second call elsewhere watches the same job.
        """
        identity = self._unfinished(job) or self._submitted(job)
        status = ""
        while True:
            about = self._about(identity)
            if about["status"] != status:
                status = about["status"]
                logging.info("FLARE job %s: %s", identity, status)
            if status.startswith("FINISHED"):
                return JobEnd(status, self._outcome(identity))
            if self._is_left_over(about):
                return JobEnd(f"that {status} was before the server started anew", None)
            if status == _WAITS:
                self._say_who_is_missing(job)
            time.sleep(_POLL_SECONDS)

    def _about(self, identity: str) -> dict[str, Any]:
        return self._asked(lambda session: session.get_job_meta(identity))

    def _unfinished(self, job: FedJob) -> str | None:
        """A job of this name and these settings that waits or runs; one of other settings that waits is taken back.

        Raises:
          RunStopped: one of other settings runs.
        """
        for listed in self._asked(lambda session: session.list_jobs(name_prefix=job.name, reverse=True)):
            identity = listed["job_id"]
            about = self._about(identity) if listed["job_name"] == job.name else {"status": "FINISHED"}
            if about["status"].startswith("FINISHED") or self._is_left_over(about):
                continue
            if _settings(about) == _settings(job.job.meta_props):
                logging.info("FLARE job %s is there already: %s", job.name, identity)
                return identity
            if about["status"] in _UNDER_WAY:
                raise RunStopped(
                    f"{job.name}: FLARE's job {identity} runs with other settings; wait for its end, or end it in "
                    f"FLARE's console (abort_job {identity}), and give the command again"
                )
            logging.info("FLARE job %s of other settings was still waiting and is taken back: %s", job.name, identity)
            self._asked(functools.partial(Session.abort_job, job_id=identity))
        return None

    def _say_who_is_missing(self, job: FedJob) -> None:
        missing = sorted(set(job.clients) - set(self.connected()))
        if missing:
            names = ", ".join(missing)
            logging.log_every_n_seconds(
                logging.WARNING, "FLARE job %s waits; not connected: %s", _TELL_SECONDS, job.name, names
            )

    def _is_left_over(self, about: dict[str, Any]) -> bool:
        """Whether a job was under way when its server ended: FLARE 2.9 never says that it is not any more."""
        if about["status"] not in _UNDER_WAY:
            return False
        server = self._asked(lambda session: session.get_system_info()).server_info.start_time
        began = _began(about)
        return began is not None and began < server

    def _submitted(self, job: FedJob) -> str:
        token = uuid.uuid4().hex  # so that a question that is asked twice is one job
        with tempfile.TemporaryDirectory() as folder:
            job.export_job(folder)
            path = str(pathlib.Path(folder) / job.name)
            identity = self._asked(lambda session: session.submit_job(path, submit_token=token))
        logging.info("FLARE job %s submitted: %s", job.name, identity)
        return identity

    def connected(self) -> list[str]:
        """Names of the sites that are connected."""
        return [client.name for client in self._asked(lambda session: session.get_connected_client_list())]

    def close(self) -> None:
        """Ends the session."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _outcome(self, identity: str) -> JobOutcome | None:
        with tempfile.TemporaryDirectory() as folder:
            result = self._asked(lambda session: session.download_job_result(identity, folder))
            return find_outcome(pathlib.Path(result))

    def _asked(self, question: Callable[[Session], Any]) -> Any:
        """An answer of the server, which may take a while to be there again."""
        failures = 0
        while True:
            try:
                if self._session is None:
                    self._session = new_secure_session(self._user, str(self._kit), timeout=_CONNECT_SECONDS)
                return question(self._session)
            except AuthenticationError as error:
                found = f"one that the server refuses ({error})"
                raise InputError("--flare_kit", found=found, expected="of this server's project") from None
            except _REFUSED as error:
                raise RunStopped(f"FLARE's server: {type(error).__name__}, {error}") from None
            except _FAILED as error:
                failures += 1
                if failures == _FAILURES:
                    raise RunStopped(f"FLARE's server: {error}; the same command again goes on") from None
            except _LOST as error:
                logging.warning("no answer from FLARE's server (%s); asking again", error or type(error).__name__)
            with contextlib.suppress(Exception):  # of a connection that may be lost anyway
                self.close()
            self._session = None
            time.sleep(_POLL_SECONDS)


def _settings(about: Mapping[str, Any] | None) -> str | None:
    """What `make_job` noted of a job's settings."""
    return ((about or {}).get(JobMetaKey.CUSTOM_PROPS.value) or {}).get(SETTINGS)


def _began(about: dict[str, Any]) -> float | None:
    """When a job was started, or while its sites are still told to start it was scheduled; seconds since 1970."""
    if about.get("start_time"):
        return datetime.datetime.fromisoformat(about["start_time"]).timestamp()
    return about.get("last_schedule_time")


def carry_through(run: Callable[[FedJob], JobEnd], job: FedJob, *, attempts: int = ATTEMPTS) -> Sequence[str]:
    """Runs a job again and again until it is completed: each goes on from what the ones before have kept.

    Args:
      run: runs a job to its end, such as `Deployment.run`.
      job: the job.
      attempts: how many jobs in a row may end soon without having kept anything new.

    Returns:
      Sites that had no part in its end.

    Raises:
      RunStopped: that many did, or one ended in a way that another will not mend.
    """
    fruitless = 0
    while True:
        end = run(job)
        if end.completed:
            return end.outcome.lacking if end.outcome else ()
        if end.status == RunStatus.FINISHED_ABORTED.value:
            raise RunStopped(
                f"{job.name}: aborted in FLARE's console, or a site does not let this project's components run there "
                "(its log.txt says so: experiments.federated_member was not run on its kit); the same command again "
                "goes on from what was kept"
            )
        if end.status != RunStatus.FINISHED_CANT_SCHEDULE.value:  # which only says that sites were away for long
            fruitless = 0 if end.came_further else fruitless + 1
        if (end.outcome and not end.outcome.resumable) or fruitless >= attempts:
            raise RunStopped(f"{job.name}: {end.reason}; the same command again goes on from what was kept")
        logging.warning("%s: %s; submitted again", job.name, end.reason)
