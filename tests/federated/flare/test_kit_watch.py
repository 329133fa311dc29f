"""A kit that is used twice, as FLARE's cells carry it within one process, and what is told from signs of life."""

import pathlib
import time
import types

import pytest
from nvflare.apis.client import Client
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.fuel.common.exit_codes import ProcessExitCode
from nvflare.fuel.f3.cellnet.cell import Cell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.message import Message
from nvflare.fuel.sec.authn import set_add_auth_headers_filters
from nvflare.private.fed.server.client_manager import ClientManager

from fedsim_tf.errors import RunStopped
from fedsim_tf.federated.flare.deployment import JobEnd, carry_through
from fedsim_tf.federated.flare.kit_health import find_second_use
from fedsim_tf.federated.flare.kit_use import KitUse
from fedsim_tf.federated.flare.kit_watch import ENDED, KitReport, KitWatch
from fedsim_tf.federated.flare.kits import TWICE_FILE, describe_second_use
from tests.federated.flare.federation import free_port

SIGNS = {
    "one process": ("aaa", False),
    "a restart": ("aab", False),
    "a restart of a restart": ("aabbc", False),
    "one in turn with the other": ("aba", True),
    "a third one beside the second": ("aabcb", True),
    "long ago": ("aba      b", False),
}


@pytest.mark.parametrize("case", SIGNS)
def test_two_processes_are_told_from_a_restart(case):
    """A letter is a sign of life of a process, ten seconds after the one before it."""
    signs, twice = SIGNS[case]
    now = [0.0]
    use = KitUse(recent=40.0, clock=lambda: now[0])
    use.hear("turin", "x")
    for sign in signs:
        now[0] += 10
        if sign != " ":
            use.hear("leeds", sign)
    assert use.is_used_twice("leeds") == twice
    assert not use.is_used_twice("turin")
    assert use.is_alive("leeds", signs[-1])
    now[0] += 41
    assert not use.is_used_twice("leeds")
    assert not use.is_alive("leeds", signs[-1])


class Engine:
    """Notes what the server does to jobs; leeds has a part in two of the three that run, and its last word is lost."""

    def __init__(self):
        parts = {"one": ("leeds", "turin"), "two": ("turin",), "three": ("leeds",)}
        self.run_processes = {
            job: {"_participants": {name: Client(name, name) for name in names}} for job, names in parts.items()
        }
        self.job_def_manager = self.job_runner = self
        self.said, self.failed, self.waits_for = {}, [], {"done", "one"}

    def new_context(self):
        return FLContext()

    def update_meta(self, job, meta, fl_ctx):
        self.said[job] = meta[ENDED]

    def fail_run(self, job, code, fl_ctx):
        assert code == ProcessExitCode.EXCEPTION
        self.failed.append(job)

    def get_client_outcome_jobs(self, site):
        assert site == "leeds"
        return set(self.waits_for)

    def resolve_client_outcome(self, job, site):
        self.waits_for.discard(job)


class SiteEngine:
    def __init__(self):
        self.jobs = ["one"]

    def get_all_job_ids(self):
        return self.jobs

    def abort_app(self, job):
        self.jobs.remove(job)


def context(site_object, *, engine=None, folder=None):
    found = FLContext()
    found.set_prop(FLContextKey.SITE_OBJ, site_object, private=True, sticky=False)
    workspace = types.SimpleNamespace(get_site_config_dir=lambda: str(folder))
    found.set_prop(FLContextKey.WORKSPACE_OBJECT, workspace, private=True, sticky=False)
    found.get_engine = lambda: engine
    return found


@pytest.fixture
def open_cell():
    """Cells of FLARE on the loopback address, of which the first one is the server's."""
    url, cells = f"tcp://127.0.0.1:{free_port()}", []

    def start(name):
        cells.append(Cell(fqcn=name, root_url=url, secure=False, credentials={}))
        cells[-1].start()
        return cells[-1]

    yield start
    for cell in reversed(cells):
        cell.stop()


def wait_until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_kit_that_is_used_twice_is_said_ends_its_jobs_and_locks_nobody_out(open_cell, tmp_path, caplog):
    """Each process has a cell and FLARE's token; the second one has taken the first one's registration.

    At first the second one gives FLARE's heartbeats alone, as a process that somebody else has set up would.
    """
    clients, engine = ClientManager(project_name="toy"), Engine()
    server = types.SimpleNamespace(
        cell=open_cell("server"), client_manager=clients, engine=engine, logout_client=clients.remove_client
    )
    KitWatch(recent_seconds=2.0).handle_event(EventType.SYSTEM_START, context(server))
    assert clients.heartbeat("second", "leeds", "leeds", FLContext())  # registers it
    reports, folders, engines = {}, {}, {}
    for name in ("first", "second"):
        folders[name], engines[name] = tmp_path / name / "leeds" / "local", SiteEngine()
        folders[name].mkdir(parents=True)
        cell = open_cell(f"leeds-{name}")
        set_add_auth_headers_filters(cell, "leeds", name, "signature")
        client = types.SimpleNamespace(cell=cell, client_name="leeds")
        reports[name] = KitReport(every_seconds=0.05)
        about = context(client, engine=engines[name], folder=folders[name])
        reports[name].handle_event(EventType.AFTER_CLIENT_REGISTER, about)
        wait_until((folders[name] / TWICE_FILE).exists)
    wait_until(lambda: engine.failed and "done" not in engine.waits_for)
    assert sorted(engine.failed) == ["one", "three"]
    assert engine.said == dict.fromkeys(("one", "three"), describe_second_use("leeds"))
    assert engine.waits_for == {"one"}  # which is under way: it has ended by itself
    wait_until(lambda: not any(one.jobs for one in engines.values()))
    assert "two processes use the kit of leeds at once" in caplog.text
    told = "as its process was told: two processes use the kit of leeds"
    wait_until(lambda: told in find_second_use(folders["first"].parent))
    clients.heartbeat("second", "leeds", "leeds", FLContext())
    assert not clients.heartbeat("first", "leeds", "leeds", FLContext())  # locked out
    reports["second"].handle_event(EventType.SYSTEM_END, FLContext())
    wait_until(lambda: not (folders["first"] / TWICE_FILE).exists())
    wait_until(lambda: clients.heartbeat("first", "leeds", "leeds", FLContext()) or "first" in clients.get_clients())
    assert list(clients.get_clients()) == ["first"]
    assert find_second_use(folders["first"].parent) == ""
    reports["first"].handle_event(EventType.SYSTEM_END, FLContext())


def test_a_job_that_a_second_process_has_ended_is_not_submitted_again():
    why = describe_second_use("leeds")
    ends = [JobEnd("FINISHED:EXECUTION_EXCEPTION", None, why), JobEnd("FINISHED:COMPLETED", None)]
    with pytest.raises(
        RunStopped, match=r"^toy: two processes use the kit of leeds at once, .*; the same command again"
    ):
        carry_through(lambda job: ends.pop(0), types.SimpleNamespace(name="toy"))
    assert len(ends) == 1


def test_a_kit_that_is_used_once_has_nothing_to_say(tmp_path):
    assert find_second_use(pathlib.Path(tmp_path)) == ""


def test_a_record_that_is_deleted_while_it_is_looked_at_has_nothing_to_say(tmp_path, monkeypatch):
    monkeypatch.setattr(pathlib.Path, "exists", lambda file: True)  # it was there a moment ago
    assert find_second_use(tmp_path) == ""


def test_a_site_reports_on_after_an_error_of_the_system(tmp_path, caplog):
    """Its disk is full when it first hears of another process: it cannot write that down."""
    sent, reply = [], Message({MessageHeaderKey.RETURN_CODE: ReturnCode.OK, "fedsim_tf.twice": True})
    cell = types.SimpleNamespace(send_request=lambda **told: sent.append(told) or reply)
    client = types.SimpleNamespace(cell=cell, client_name="leeds")
    report, engine, folder = KitReport(every_seconds=0.01), SiteEngine(), tmp_path / "leeds" / "local"
    (tmp_path / "leeds").write_text("a file in the folder's place")
    report.handle_event(EventType.AFTER_CLIENT_REGISTER, context(client, engine=engine, folder=folder))
    wait_until(lambda: "the report on the use of this kit has failed and is tried again" in caplog.text)
    (tmp_path / "leeds").unlink()
    wait_until((folder / TWICE_FILE).exists)
    wait_until(lambda: not engine.jobs)
    report.handle_event(EventType.SYSTEM_END, FLContext())
    assert len(sent) > 1
