"""The server's process under FLARE, which asks the sites of a job and takes their answers."""

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
from fedsim_tf.federated.flare.wire import message_to_model, model_to_message
from fedsim_tf.federated.message import (
    LONGEST_WORD,
    Message,
    check_form,
    message_to_answer,
    report_failure,
    task_to_message,
)
from fedsim_tf.federated.refusals import summarize_refused
from fedsim_tf.federated.task import Answer, Answers, Task
from fedsim_tf.federated.wire_record import RECEIVED, WireRecord
from fedsim_tf.files import read_json, write_json

OUTCOME = "fedsim_tf_outcome.json"
_REJOIN_SECONDS = 600.0
_TELL_SECONDS = 60.0
_CHECK_SECONDS = 0.05  # between looks at whether all have answered


class JobOutcome(NamedTuple):
    """The end of a job as the server's process saw it, which is part of the job's result.

    Attributes:
      kept: how many checkpoints the job has added, from which another job can go on.
      reason: why the job ended before its work was done; "" if it was done.
      resumable: whether another job may come further.
      lacking: the sites that had no part in the job's end.
      seconds: how long the job lasted.
      refused: a line for each site that was left out in the fold so far, see `summarize_refused`.
    """

    kept: int
    reason: str = ""
    resumable: bool = True
    lacking: Sequence[str] = ()
    seconds: float = 0.0
    refused: Sequence[str] = ()


def find_outcome(folder: pathlib.Path) -> JobOutcome | None:
    """Return the outcome of the job whose files are below a folder; None if its process was killed."""
    found = sorted(folder.rglob(OUTCOME))
    return JobOutcome(**read_json(found[0])) if found else None


class StageController(ModelController, abc.ABC):
    """A FLARE workflow whose tasks are decided by a `Coordinator`.

    The server has it installed: a job brings its settings and no code.

    Attributes:
      kept: how many checkpoints this job has added so far.
      lacking: the sites that had no part in the job's end; `coordinate` sets it.
      refused: the folder with the record of refused answers; `coordinate` sets it.
      rejoin_seconds: how long a job that lacks a site goes on; it then ends, so that the next one takes the site in.
    """

    def __init__(self):
        super().__init__(persistor_id="", ignore_result_error=True, task_check_period=_CHECK_SECONDS)
        self.kept, self.rejoin_seconds = 0, _REJOIN_SECONDS
        self.lacking: Sequence[str] = ()
        self.refused: pathlib.Path | None = None
        self._start = time.monotonic()

    @abc.abstractmethod
    def coordinate(self, local: pathlib.Path) -> None:
        """Do the job; `local` is the folder of the files that only the server has."""

    def open_exchange(
        self, sites: Sequence[str], folder: pathlib.Path, *, timeout: float, quorum: int
    ) -> FlareExchange:
        """Return an exchange with the sites of the job, some of which may not be connected.

        Args:
          sites: names of the sites.
          folder: folder where all that they send is recorded; see `WireRecord`.
          timeout: seconds without a sign of life after which a site is not asked again.
          quorum: how many answers are needed; 0: all.
        """
        present = {client.name for client in self.engine.get_clients()}
        gone = [name for name in sites if name not in present]
        record = WireRecord(folder, RECEIVED)
        return FlareExchange(self, sites, record, timeout=timeout, quorum=quorum, gone=gone)

    def note_kept(self, exchange: FlareExchange) -> bool:
        """Count a checkpoint, and return whether to end the job there so that the next one takes lost sites in."""
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
            lines = summarize_refused(self.refused) if self.refused else ()
            outcome = outcome._replace(kept=self.kept, lacking=self.lacking, seconds=seconds, refused=lines)
            write_json(pathlib.Path(self.get_run_dir()) / OUTCOME, outcome._asdict())


class FlareExchange:
    """An `Exchange` that asks sites through FLARE.

    Every site gives a sign of life within the executor's `SIGN_SECONDS`, however long its work takes, and is asked
    again. A silent site is waited for once and not asked any more in this job: FLARE cannot take it back into a running
    job, but the next job does. Once too few sites are left for the quorum, the others are not waited for either.

    Args:
      controller: the workflow that reaches the sites.
      sites: names of the sites.
      record: the record of what they send.
      timeout: seconds without a sign of life after which a site is not asked again.
      quorum: how many answers are needed; 0: all.
      gone: the sites that are not connected.
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
                waited = f"waited at most {self._timeout:g} s, federated.timeout"
                self._lose(name, f"no answer from {name} ({waited}), its own log may say why")
            asked = [name for name, message in heard.items() if "under_way" in message.words]
            # Sites at work have the arrays: sent again every 10 s, a U-Net's would fill a hospital's line.
            task = dataclasses.replace(task, weights={}, encrypted={}, distribution=None, encrypted_latents={})
            if asked:
                what, by = f"{task.stage or task.kind}, round {task.round}", ", ".join(asked)
                logging.log_every_n_seconds(logging.INFO, "%s: under way at %s", _TELL_SECONDS, what, by)
            for name in (name for name in heard if name not in asked):
                self._sort(name, heard[name], received, missing)
        self._upkeep.note_task()
        return Answers(received, {**missing, **self._gone})

    def _ask(self, task: Task, sites: Sequence[str]) -> dict[str, Message]:
        """Return the messages that these sites send within the timeout."""
        ask = self._controller.send_model_and_wait
        model = message_to_model(task_to_message(task))
        answers = ask(task_name=task.kind, data=model, targets=list(sites), timeout=math.ceil(self._timeout))
        if self._controller.abort_signal.triggered:
            raise RunStopped(f"{task.stage or task.kind}, round {task.round}: FLARE has ended the job")
        heard = {}
        for answer in answers:
            site = answer.meta["client_name"]  # as FLARE knows it from its certificate
            try:
                message = model_to_message(answer)
                check_form(message)
                heard[site] = message
            except Exception as error:  # nothing that a site sends may end the job for the others
                why = f"{type(error).__name__}: {error}"[:LONGEST_WORD]
                heard[site] = report_failure(task, f"{site} has sent no message of this project ({why})")
                continue
            self._record.note(site, message)
        return heard

    def _sort(self, site: str, message: Message, received: list[Answer], missing: dict[str, str]) -> None:
        """Add a site's answer to `received`, or the reason why there is none to `missing`."""
        if "failure" in message.words:
            self._lose(site, f"{site}: {message.words['failure']}")
            return
        try:
            received.append(message_to_answer(site, message))
        except InputError as error:
            missing[site] = str(error)
        except Exception as error:  # nothing that a site sends may end the job for the others
            missing[site] = f"{site} has sent what is no answer ({type(error).__name__}: {error})"[:LONGEST_WORD]

    def _lose(self, site: str, reason: str) -> None:
        self._gone[site] = reason
        logging.warning("This job is without %s from here on: %s", site, reason)

    @property
    def lacks_sites(self) -> bool:
        """Return whether any site has no part in the rest of this job."""
        return bool(self._gone)
