"""A deployed FLARE system, as the one who submits jobs sees it."""

from __future__ import annotations

import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from absl import logging
from nvflare.apis.job_def import RunStatus
from nvflare.fuel.flare_api.api_spec import (
    AuthenticationError,
    InternalError,
    NoConnection,
    SessionClosed,
)
from nvflare.fuel.flare_api.flare_api import Session, new_secure_session
from nvflare.job_config.api import FedJob

from fedsim_tf.errors import InputError, RunStopped
from fedsim_tf.federated.flare.controller import Outcome, find_outcome
from fedsim_tf.files import read_json

_POLL_SECONDS = 2.0
_CONNECT_SECONDS = 10.0
_LOST = (NoConnection, SessionClosed, InternalError)  # while the server is away or starts again
_UNDER_WAY = (RunStatus.DISPATCHED.value, RunStatus.RUNNING.value)
ATTEMPTS = 5


class JobEnd(NamedTuple):
    """How a job ended.

    Attributes:
      status: FLARE's word for it, such as "FINISHED:COMPLETED".
      outcome: what the server's process left, None where it was killed.
    """

    status: str
    outcome: Outcome | None

    @property
    def completed(self) -> bool:
        return self.status == RunStatus.FINISHED_COMPLETED.value

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
        """Submits a job and waits for its end, however long the server or sites are away meanwhile."""
        with tempfile.TemporaryDirectory() as folder:
            job.export_job(folder)
            identity = self._asked(lambda session: session.submit_job(str(pathlib.Path(folder) / job.name)))
        logging.info("FLARE job %s submitted: %s", job.name, identity)
        started, status = self._server_start(), ""
        while not status.startswith("FINISHED"):
            time.sleep(_POLL_SECONDS)
            found = self._asked(lambda session: session.get_job_meta(identity))["status"]
            if found != status:
                logging.info("FLARE job %s: %s", identity, found)
            status = found
            if status in _UNDER_WAY and self._server_start() != started:
                # FLARE 2.9 never says of a job that was under way when its server ended that it is not any more.
                return JobEnd(f"that {status} was before the server started anew", None)
        return JobEnd(status, self._outcome(identity))

    def connected(self) -> list[str]:
        """Names of the sites that are connected."""
        return [client.name for client in self._asked(lambda session: session.get_connected_client_list())]

    def close(self) -> None:
        """Ends the session."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _server_start(self) -> Any:
        return self._asked(lambda session: session.get_system_info()).server_info.start_time

    def _outcome(self, identity: str) -> Outcome | None:
        with tempfile.TemporaryDirectory() as folder:
            result = self._asked(lambda session: session.download_job_result(identity, folder))
            return find_outcome(pathlib.Path(result))

    def _asked(self, question: Callable[[Session], Any]) -> Any:
        """An answer of the server, which may take a while to be there again."""
        while True:
            try:
                if self._session is None:
                    self._session = new_secure_session(self._user, str(self._kit), timeout=_CONNECT_SECONDS)
                return question(self._session)
            except AuthenticationError as error:
                raise InputError(
                    "--flare_kit", found=f"one that the server refuses ({error})", expected="its own"
                ) from None
            except _LOST as error:
                logging.warning("no answer from FLARE's server (%s); asking again", error or type(error).__name__)
                self._session = None
                time.sleep(_POLL_SECONDS)


def carry_through(run: Callable[[FedJob], JobEnd], job: FedJob, *, attempts: int = ATTEMPTS) -> None:
    """Runs a job again and again until it is completed: each goes on from what the ones before have kept.

    Args:
      run: runs a job to its end, such as `Deployment.run`.
      job: the job.
      attempts: how many jobs in a row may end without having kept anything new.

    Raises:
      RunStopped: that many did, or one ended in a way that another will not mend.
    """
    fruitless = 0
    while True:
        end = run(job)
        if end.completed:
            return
        fruitless = 0 if end.outcome and end.outcome.kept else fruitless + 1
        if (end.outcome and not end.outcome.resumable) or fruitless >= attempts:
            raise RunStopped(f"{job.name}: {end.reason}; the same command again goes on from what was kept")
        logging.warning("%s: %s; submitted again", job.name, end.reason)
