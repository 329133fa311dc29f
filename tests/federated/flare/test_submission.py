"""Which jobs an admin's kit finds, takes back, watches and submits, over a server that is only played."""

import types

import pytest
from nvflare.apis.fl_exception import FLCommunicationError

from fedsim_tf.errors import RunStopped
from fedsim_tf.federated.flare import deployment as deployment_module
from fedsim_tf.federated.flare.deployment import Deployment
from fedsim_tf.federated.flare.jobs import SETTINGS
from fedsim_tf.files import write_json

STARTED = 1_000_000.0  # when the server was
COMPLETED = "FINISHED:COMPLETED"


def about(status, *, settings="now", **times):
    return {"status": status, "custom_props": {SETTINGS: settings}, **times}


class Played:
    """A session; each job has a list of what is said of it, the last one for good."""

    def __init__(self, **jobs):
        self.jobs, self.aborted, self.submitted = jobs, [], []
        self.clients = ["leeds"]

    def list_jobs(self, *, name_prefix, reverse):
        return [{"job_id": identity, "job_name": name_prefix} for identity in self.jobs]

    def get_job_meta(self, identity):
        said = self.jobs[identity]
        return said.pop(0) if len(said) > 1 else said[0]

    def get_system_info(self):
        return types.SimpleNamespace(server_info=types.SimpleNamespace(start_time=STARTED))

    def get_connected_client_list(self):
        return [types.SimpleNamespace(name=name) for name in self.clients]

    def abort_job(self, job_id):
        self.aborted.append(job_id)

    def submit_job(self, path, *, submit_token):
        self.submitted.append(path)
        self.jobs["new"] = [about("SUBMITTED"), about(COMPLETED)]
        return "new"

    def download_job_result(self, identity, folder):
        return folder

    def close(self):
        pass


class Job:
    name, clients = "run-fold_0", ("leeds", "turin")
    job = types.SimpleNamespace(meta_props={"custom_props": {SETTINGS: "now"}})

    def export_job(self, folder):
        pass


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a job over played ones; its end and the session."""
    write_json(tmp_path / "startup" / "fed_admin.json", {"admin": {"username": "admin"}})
    monkeypatch.setattr(deployment_module, "_POLL_SECONDS", 0.0)
    # FLARE's sessions are played; functions of their class are called with this one.
    monkeypatch.setattr(deployment_module, "Session", Played)

    def start(**jobs):
        session = Played(**jobs)
        monkeypatch.setattr(deployment_module, "new_secure_session", lambda *_, **__: session)
        return Deployment(tmp_path).run(Job()), session

    return start


def test_a_job_that_waits_for_its_sites_start_is_watched(run):
    """FLARE gives the time of a job's start only once it runs, and as a text."""
    end, session = run(
        old=[
            about("DISPATCHED", start_time="", last_schedule_time=STARTED + 5),
            about("DISPATCHED", start_time="", last_schedule_time=STARTED + 5),
            about("RUNNING", start_time="2026-01-01 00:00:00.000000+00:00"),
            about(COMPLETED),
        ]
    )
    assert end.is_completed
    assert session.submitted == []


@pytest.mark.parametrize(
    "left",
    [
        about("DISPATCHED", start_time="", last_schedule_time=STARTED - 5),
        about("RUNNING", start_time="1970-01-02 00:00:00.000000+00:00"),
    ],
)
def test_a_job_of_before_the_servers_start_is_left_and_another_one_submitted(run, left):
    end, session = run(old=[left])
    assert end.is_completed
    assert len(session.submitted) == 1
    assert session.aborted == []


def test_a_waiting_job_of_other_settings_is_taken_back(run):
    """Such as one that waits for a site that has left for good, when the command asks for fewer."""
    end, session = run(old=[about("SUBMITTED", settings="of three sites")])
    assert end.is_completed
    assert session.aborted == ["old"]
    assert len(session.submitted) == 1


def test_a_running_job_of_other_settings_is_left_alone(run):
    running = about("RUNNING", settings="another", start_time="2026-01-01 00:00:00.000000+00:00")
    with pytest.raises(RunStopped, match=r"FLARE's job old runs with other settings; .* \(abort_job old\)"):
        run(old=[running])


def test_for_whom_a_job_waits_is_said(run, monkeypatch):
    said = []
    monkeypatch.setattr(
        deployment_module.logging, "log_every_n_seconds", lambda level, text, every, *words: said.append(text % words)
    )
    run()
    assert said == ["FLARE job run-fold_0 waits; not connected: turin"]


def connect_with(monkeypatch, root, *answers):
    """Let attempts to connect end one after the other with errors or sessions; the deployment."""
    admin = {"username": "admin", "host": "fedsim.example.org", "port": 8003}
    write_json(root / "startup" / "fed_admin.json", {"admin": admin})
    monkeypatch.setattr(deployment_module, "_POLL_SECONDS", 0.0)
    left = list(answers)

    def connect(*_, **__):
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(deployment_module, "new_secure_session", connect)
    return Deployment(root)


def test_a_server_that_does_not_answer_is_named_with_its_address(tmp_path, monkeypatch, caplog):
    deployment = connect_with(monkeypatch, tmp_path, deployment_module.NoConnection("refused"), Played())
    assert deployment.list_connected() == ["leeds"]
    assert "no answer from FLARE's server at fedsim.example.org:8003 (refused); asking again" in caplog.text


def test_a_server_that_listens_before_it_can_answer_is_asked_again_and_not_for_ever(tmp_path, monkeypatch):
    """As in the first second of its life: a session's greeting is then answered with an error."""
    greeted = FLCommunicationError("failed to challenge server: process_exception: no callback")
    assert connect_with(monkeypatch, tmp_path, greeted, greeted, Played()).list_connected() == ["leeds"]
    deployment = connect_with(monkeypatch, tmp_path, *[greeted] * 9)
    with pytest.raises(RunStopped, match=r"fedsim.example.org:8003: failed to challenge .*; the same command again"):
        deployment.list_connected()
