"""A site's process under FLARE, which answers the server's tasks for as long as a job lasts."""

from __future__ import annotations

import abc
import concurrent.futures
import pathlib

from absl import logging
from nvflare.apis.executor import Executor
from nvflare.apis.filter import Filter
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.app_common.utils.fl_model_utils import FLModelUtils

from fedsim_tf.errors import InputError
from fedsim_tf.federated.encryption.encrypting_site import EncryptingSite
from fedsim_tf.federated.flare.memory import Upkeep
from fedsim_tf.federated.flare.wire import message_to_model, model_to_message
from fedsim_tf.federated.message import Message, answer_to_message, message_to_task, report_failure, report_under_way
from fedsim_tf.federated.outbox import NOT_BEGUN, Outbox, is_plain_sign
from fedsim_tf.federated.site import Site
from fedsim_tf.federated.task import Task

SIGN_SECONDS = 10.0
FAILED = "failed, its own log says why"
_OUTBOX = "fedsim_tf.outbox"


class SiteExecutor(Executor, abc.ABC):
    """A FLARE executor with one `Site`, whose data and networks stay in memory from a job's first task to its last.

    The hospital has it installed: a job brings its settings and no code. All work is done in one thread. A task that
    takes longer than `SIGN_SECONDS` is answered with a sign of life, and the server asks again.
    """

    def __init__(self):
        super().__init__()
        self._site: Site | EncryptingSite | None = None
        self._outbox: Outbox | None = None
        self._upkeep = Upkeep()
        self._thread = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="site")
        self._under_way: tuple[tuple[str, str, int], concurrent.futures.Future[Message]] | None = None

    @abc.abstractmethod
    def open_site(self, name: str, local: pathlib.Path) -> Site | EncryptingSite:
        """Return the site; `local` is the folder of the files that only this hospital has."""

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        task = message_to_task(model_to_message(FLModelUtils.from_shareable(shareable)))
        which = (task.kind, task.stage, task.round)
        if self._under_way is None or self._under_way[0] != which:
            name, local = fl_ctx.get_identity_name(), _find_local(fl_ctx)
            self._under_way = (which, self._thread.submit(self._answer, task, name, local))
        try:
            message = self._under_way[1].result(timeout=SIGN_SECONDS)
            self._under_way = None
            self._upkeep.note_task()
        except concurrent.futures.TimeoutError:
            message = report_under_way(task)
        if self._outbox is not None:
            self._outbox.let_pass(message)
            fl_ctx.set_prop(_OUTBOX, self._outbox, private=True, sticky=True)
        return FLModelUtils.to_shareable(message_to_model(message))

    def _answer(self, task: Task, name: str, local: pathlib.Path) -> Message:
        """Return the answer to a task, or why there is none; runs in the site's own thread."""
        try:
            if self._site is None:
                self._site = self.open_site(name, local)
            message = answer_to_message(task, self._site.answer(task))
            # Made after the first answer, as in one process: making it draws random numbers.
            self._outbox = self._site.outbox
            self._outbox.check(message)
            return message
        except FloatingPointError as error:
            return report_failure(task, str(error))
        except InputError as error:  # what the server asks for is not what this site gives
            logging.error("%s refuses %r of %s, round %s: %s", name, task.kind, task.stage, task.round, error)
            return report_failure(task, FAILED if self._outbox else NOT_BEGUN)
        except Exception:  # the error may name files of this hospital, so that it is logged here and not sent
            logging.exception("%s cannot answer %r of %s, round %d", name, task.kind, task.stage, task.round)
            return report_failure(task, FAILED if self._outbox else NOT_BEGUN)


class OutgoingFilter(Filter):
    """A FLARE filter that checks every answer on its way out once more; the site's `local/privacy.json` demands it.

    The executor has checked and recorded the answer already, with or without this filter. An answer that may not leave
    is kept back, and the server learns that there is none.
    """

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        if shareable.get_return_code(ReturnCode.OK) != ReturnCode.OK:
            return make_reply(ReturnCode.EXECUTION_EXCEPTION)  # and nothing of what it says
        message = model_to_message(FLModelUtils.from_shareable(shareable))
        outbox = fl_ctx.get_prop(_OUTBOX)
        try:
            if isinstance(outbox, Outbox):
                outbox.check(message)
            elif not is_plain_sign(message):
                raise InputError("answer", found="one that no site of this project gave", expected="its own")
        except InputError as error:
            logging.error("%s", error)
            raise
        return FLModelUtils.to_shareable(message_to_model(message))  # a new one, without anything else it had


def _find_local(fl_ctx: FLContext) -> pathlib.Path:
    return pathlib.Path(fl_ctx.get_workspace().get_site_config_dir())
