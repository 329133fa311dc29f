"""The server's process under FLARE: asks the sites of a job, and takes their answers."""

from __future__ import annotations

import abc
import dataclasses
import math
import pathlib
import time
from collections.abc import Sequence
from typing import NamedTuple

from absl import logging
from nvflare.app_common.workflows.model_controller import ModelController

from fedsim_tf.errors import InputError, RunStopped
from fedsim_tf.federated.flare.memory import Upkeep
from fedsim_tf.federated.flare.wire import to_message, to_model
from fedsim_tf.federated.message import LONGEST_WORD, Message, check_form, of_failure, of_task, to_answer
from fedsim_tf.federated.task import Answer, Answers, Task
from fedsim_tf.federated.wire_record import RECEIVED, WireRecord
from fedsim_tf.files import read_json, write_json

OUTCOME = "fedsim_tf_outcome.json"
REJOIN_SECONDS = 600.0
_TELL_SECONDS = 60.0
CHECK_PERIOD = 0.05  # seconds between looks at whether all have answered


class JobOutcome(NamedTuple):
    """How the server's process saw a job's end; it is part of the job's result.

    Attributes:
      kept: how many states were kept from which another job can go on.
      reason: why the job ended before its work was done.
      resumable: whether another job may come further.
      lacking: sites that had no part in the job's end.
      seconds: how long the job lasted.
    """

    kept: int
    reason: str = ""
    resumable: bool = True
    lacking: Sequence[str] = ()
    seconds: float = 0.0


def find_outcome(folder: pathlib.Path) -> JobOutcome | None:
    """That of the job whose files are below a folder; None where its process was killed."""
    found = sorted(folder.rglob(OUTCOME))
    return JobOutcome(**read_json(found[0])) if found else None


class StageController(ModelController, abc.ABC):
    """A FLARE workflow that is this project's own: which task comes when is the `Coordinator`'s affair.

    It is part of what the server has installed: a job brings its settings and no code.

    Attributes:
      kept: how many states this job has kept so far.
      lacking: sites that had no part in its end; `coordinate` says so.
      rejoin_seconds: how long a job that lacks a site goes on before it ends, for the next to take the site in again.
    """

    def __init__(self):
        super().__init__(persistor_id="", ignore_result_error=True, task_check_period=CHECK_PERIOD)
        self.kept, self.rejoin_seconds = 0, REJOIN_SECONDS
        self.lacking: Sequence[str] = ()
        self._start = time.monotonic()

    @abc.abstractmethod
    def coordinate(self, local: pathlib.Path) -> None:
        """Does the job; `local` is the folder of the files that only the server has."""

    def exchange(self, sites: Sequence[str], folder: pathlib.Path, *, timeout: float, quorum: int) -> FlareExchange:
        """Asks the sites that there should be, of which some may not be connected.

        Args:
          sites: their names.
          folder: where what they send is recorded; see `WireRecord`.
          timeout: seconds without a sign of life after which a site is not asked again.
          quorum: how many answers are needed; 0: all.
        """
        present = {client.name for client in self.engine.get_clients()}
        gone = [name for name in sites if name not in present]
        record = WireRecord(folder, RECEIVED)
        return FlareExchange(self, sites, record, timeout=timeout, quorum=quorum, gone=gone)

    def has_kept(self, exchange: FlareExchange) -> bool:
        """Notes that a state was kept; whether to end the job there, so that the next takes lost sites in again."""
        self.kept += 1
        return exchange.lacks_sites and time.monotonic() - self._start >= self.rejoin_seconds

    def run(self) -> None:
        outcome = JobOutcome(kept=0)
        try:
            self.coordinate(pathlib.Path(self.engine.get_workspace().get_site_config_dir()))
        except Exception as error:
            outcome = JobOutcome(0, str(error), resumable=not isinstance(error, InputError))
            raise
        finally:
            seconds = time.monotonic() - self._start
            outcome = outcome._replace(kept=self.kept, lacking=self.lacking, seconds=seconds)
            write_json(pathlib.Path(self.get_run_dir()) / OUTCOME, outcome._asdict())


class FlareExchange:
    """Asks sites through FLARE; see `Exchange`.

    Every site gives a sign of life within `SIGN_SECONDS`, however long its work takes, and is asked again. One that is
    silent is not asked any more in this job, so that it is waited for once only: FLARE cannot take a site that was gone
    back into a running job, and the next job does. Once so many are lost that the quorum cannot be reached, the others
    are not waited for either.
    """

    def __init__(
        self,
        controller: StageController,
        sites: Sequence[str],
        record: WireRecord,
        *,
        timeout: float,
        quorum: int,
        gone: Sequence[str] = (),
    ):
        self._controller, self._sites, self._record, self._timeout = controller, sites, record, timeout
        self._needed = quorum or len(sites)
        self._upkeep = Upkeep()
        self._gone: dict[str, str] = {}
        for name in gone:
            self._lose(name, f"{name} is not connected")

    def __call__(self, task: Task) -> Answers:
        received: list[Answer] = []
        missing: dict[str, str] = {}
        asked = [name for name in self._sites if name not in self._gone]
        while asked and len(self._sites) - len({*missing, *self._gone}) >= self._needed:
            heard = self._ask(task, asked)
            for name in (name for name in asked if name not in heard):
                waited = f"waited at most {self._timeout:g} s, --federated_timeout"
                self._lose(name, f"no answer from {name} ({waited}), its own log may say why")
            asked = [name for name, message in heard.items() if "under_way" in message.words]
            # Who is at work already has the arrays: at 10 s a question, a U-Net's would fill a hospital's line.
            task = dataclasses.replace(task, weights={}, distribution=None)
            if asked:
                what, by = f"{task.stage or task.kind}, round {task.round}", ", ".join(asked)
                logging.log_every_n_seconds(logging.INFO, "%s: under way at %s", _TELL_SECONDS, what, by)
            for name in (name for name in heard if name not in asked):
                self._sort(name, heard[name], received, missing)
        self._upkeep.after_task()
        return Answers(received, {**missing, **self._gone})

    def _ask(self, task: Task, sites: Sequence[str]) -> dict[str, Message]:
        """What these sites have to say to a task within the timeout."""
        ask = self._controller.send_model_and_wait
        model = to_model(of_task(task))
        answers = ask(task_name=task.kind, data=model, targets=list(sites), timeout=math.ceil(self._timeout))
        if self._controller.abort_signal.triggered:
            raise RunStopped(f"{task.stage or task.kind}, round {task.round}: FLARE has ended the job")
        heard = {}
        for answer in answers:
            site = answer.meta["client_name"]  # as FLARE knows it from its certificate
            try:
                message = to_message(answer)
                check_form(message)
                heard[site] = message
            except Exception as error:  # whatever a site sends costs that site alone
                why = f"{type(error).__name__}: {error}"[:LONGEST_WORD]
                heard[site] = of_failure(task, f"{site} has sent no message of this project ({why})")
                continue
            self._record.note(site, message)
        return heard

    def _sort(self, site: str, message: Message, received: list[Answer], missing: dict[str, str]) -> None:
        """Puts what a site has sent where it belongs."""
        if "failure" in message.words:
            self._lose(site, f"{site}: {message.words['failure']}")
            return
        try:
            received.append(to_answer(site, message))
        except InputError as error:
            missing[site] = str(error)
        except Exception as error:  # whatever it is that costs that site alone
            missing[site] = f"{site} has sent what is no answer ({type(error).__name__}: {error})"[:LONGEST_WORD]

    def _lose(self, site: str, reason: str) -> None:
        self._gone[site] = reason
        logging.warning("This job is without %s from here on: %s", site, reason)

    @property
    def lacks_sites(self) -> bool:
        """Whether some site has no part in the rest of this job."""
        return bool(self._gone)
