"""Two processes that use one kit at once, as the server and each of them learn of it.

FLARE 2.9 lets a second process in by the same name: it takes the first one's registration and connection. The first one
connects again, which cuts off the second one, and so on. The server refuses the first one's heartbeats, which no log at
the site says; the last word of its job is lost, for which the server waits 600 s or more; and when the second one ends,
the first one stays locked out as long.

Here each site's process tells the server of itself now and then, on a connection that it renews where it has to, and
the server answers whether another one does so, too. Then jobs with a part of the site end, and once one of the two is
gone, the other one has the site's registration.
"""

from __future__ import annotations

import datetime
import pathlib
import threading
import time
from typing import Any

from absl import logging
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import CellMessageAuthHeaderKey, FLContextKey, RunProcessKey
from nvflare.apis.fl_context import FLContext
from nvflare.fuel.common.exit_codes import ProcessExitCode
from nvflare.fuel.f3.cellnet.defs import CellChannel, MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.cellnet.fqcn import FQCN
from nvflare.fuel.f3.message import Message
from nvflare.private.defs import new_cell_message

from fedsim_tf.federated.flare.kit_use import RECENT_SECONDS, KitUse
from fedsim_tf.federated.flare.kits import TWICE_FILE, describe_second_use
from fedsim_tf.files import write_json

ENDED = "fedsim_tf_ended"  # in FLARE's record of a job: why the server has ended it
TOPIC = "fedsim_tf.kit_use"
_TWICE = "fedsim_tf.twice"
_EVERY_SECONDS, _AGAIN_SECONDS, _ANSWER_SECONDS = 10.0, 1.0, 5.0
_TELL_SECONDS = 60.0


class KitWatch(FLComponent):
    """The server's part, in its own process: it hears of sites' processes and ends jobs of a site that has two.

    Args:
      recent_seconds: see `KitUse`.
    """

    def __init__(self, recent_seconds: float = RECENT_SECONDS):
        super().__init__()
        self._recent, self._use = recent_seconds, KitUse(recent=recent_seconds)
        self._server: Any = None
        self._ending, self._ended = threading.Lock(), set[str]()

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        if event_type == EventType.SYSTEM_START:  # which job processes do not have
            self._server = fl_ctx.get_prop(FLContextKey.SITE_OBJ)
            self._server.cell.register_request_cb(channel=CellChannel.SERVER_MAIN, topic=TOPIC, cb=self._answer)

    def _answer(self, request: Message) -> Message:
        """Return whether a site has two processes at work, to one of which the server has given this token.

        FLARE has checked token and name, which it puts into all messages, before this is called.
        """
        site, token = (
            str(request.get_header(key))
            for key in (CellMessageAuthHeaderKey.CLIENT_NAME, CellMessageAuthHeaderKey.TOKEN)
        )
        self._use.hear(site, token)
        replaced = self._is_replaced(site, token)
        if twice := replaced or self._use.is_used_twice(site):
            logging.log_every_n_seconds(logging.ERROR, "%s", _TELL_SECONDS, describe_second_use(site))
            threading.Thread(target=self._end_jobs, args=[site], daemon=True).start()  # FLARE's calls take seconds
        return new_cell_message({MessageHeaderKey.RETURN_CODE: ReturnCode.OK, _TWICE: twice}, None)

    def _is_replaced(self, site: str, token: str) -> bool:
        """Return whether FLARE has registered another process, also one that does not report, in this one's place.

        The registration is taken from one that has ended since, so that FLARE gives it to this one again.
        """
        for other, client in list(self._server.client_manager.get_clients().items()):
            if client.name == site and other != token:
                if self._use.is_alive(site, other) or time.time() - client.last_connect_time <= self._recent:
                    return True
                logging.info("%s: the process that was registered last has ended; another one takes its place", site)
                self._server.logout_client(other)
        return False

    def _end_jobs(self, site: str) -> None:
        """End the jobs that a site has a part in, and wait for no last word of it on those that are done."""
        engine = self._server.engine
        with self._ending, engine.new_context() as fl_ctx:
            for job, process in list(engine.run_processes.items()):
                names = {client.name for client in (process.get(RunProcessKey.PARTICIPANTS) or {}).values()}
                if site in names and job not in self._ended:
                    self._ended.add(job)
                    engine.job_def_manager.update_meta(job, {ENDED: describe_second_use(site)}, fl_ctx)
                    engine.job_runner.fail_run(job, ProcessExitCode.EXCEPTION, fl_ctx)
            for job in engine.job_runner.get_client_outcome_jobs(site):
                if job not in engine.run_processes:
                    engine.job_runner.resolve_client_outcome(job, site)


class KitReport(FLComponent):
    """A site's part, in its own process: it tells the server of itself, and its owner that there is another one.

    Args:
      every_seconds: seconds between two signs of life.
    """

    def __init__(self, every_seconds: float = _EVERY_SECONDS):
        super().__init__()
        self._every, self._ended = every_seconds, threading.Event()
        self._client: Any = None
        self._engine: Any = None
        self._file = pathlib.Path()

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        if event_type == EventType.AFTER_CLIENT_REGISTER:  # which job processes do not have
            self._client, self._engine = fl_ctx.get_prop(FLContextKey.SITE_OBJ), fl_ctx.get_engine()
            folder = fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT).get_site_config_dir()
            self._file = pathlib.Path(folder) / TWICE_FILE
            threading.Thread(target=self._report, daemon=True).start()
        elif event_type == EventType.SYSTEM_END:
            self._ended.set()

    def _report(self) -> None:
        while not self._ended.is_set():
            try:
                answered = self._report_once()
            except Exception as error:  # such as a full disk; a site that falls silent is taken for one that has ended
                text = "the report on the use of this kit has failed and is tried again: %r"
                logging.log_every_n_seconds(logging.ERROR, text, _TELL_SECONDS, error)
                answered = False
            self._ended.wait(self._every if answered else _AGAIN_SECONDS)

    def _report_once(self) -> bool:
        """Give a sign of life, heed the answer and return whether there was one."""
        reply = self._client.cell.send_request(
            target=FQCN.ROOT_SERVER,
            channel=CellChannel.SERVER_MAIN,
            topic=TOPIC,
            request=new_cell_message({}, None),
            timeout=_ANSWER_SECONDS,
            optional=True,
        )
        # A connection that the other process has cut off is renewed when something is sent on it, which is lost.
        answered = bool(reply.get_header(MessageHeaderKey.RETURN_CODE) == ReturnCode.OK)
        if answered:
            self._heed(twice=bool(reply.get_header(_TWICE)))
        return answered

    def _heed(self, *, twice: bool) -> None:
        site = self._client.client_name
        if twice:
            logging.log_every_n_seconds(logging.ERROR, "%s", _TELL_SECONDS, describe_second_use(site))
            if not self._file.exists():
                write_json(self._file, {"since": datetime.datetime.now().isoformat(timespec="seconds")})
            for job in list(self._engine.get_all_job_ids()):
                self._engine.abort_app(job)
        elif self._file.exists():
            logging.info("the kit of %s is used by one process again", site)
            self._file.unlink(missing_ok=True)  # both processes may have the same folder
