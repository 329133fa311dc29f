"""What the server makes of sites that are slow, silent or failing, and of jobs that end; without FLARE's processes."""

import pathlib
import time
import types

import numpy as np
import pytest
from nvflare.apis.fl_constant import ReturnCode
from nvflare.app_common.utils.fl_model_utils import FLModelUtils

from fedsim_tf.errors import InputError, RunStopped
from fedsim_tf.federated.flare import executor as executor_module
from fedsim_tf.federated.flare.controller import FlareExchange, Outcome
from fedsim_tf.federated.flare.deployment import ATTEMPTS, JobEnd, carry_through
from fedsim_tf.federated.flare.executor import OutgoingFilter
from fedsim_tf.federated.flare.wire import to_message, to_model
from fedsim_tf.federated.message import of_answer, of_failure, of_task, of_work_under_way
from fedsim_tf.federated.task import Answer, Task
from fedsim_tf.federated.update import SiteUpdate
from fedsim_tf.files import write_json
from tests.federated.flare.toy_job import LENGTH, SETTINGS, STAGE, ToyExecutor

TASK = Task("gradients", STAGE, 3, {"shape/0": np.zeros(LENGTH, np.float32)})
NEXT = Task("gradients", STAGE, 4, TASK.weights)


def answered(site, task=TASK):
    return of_answer(task, Answer(SiteUpdate(site, task.stage, task.round, 3, task.weights), {"square": 1.0}))


class Controller:
    """Gives what a script says, question by question, and notes who was asked."""

    def __init__(self, *script):
        self.script, self.asked = list(script), []
        self.abort_signal = types.SimpleNamespace(triggered=False)

    def send_model_and_wait(self, *, task_name, data, targets, timeout):
        self.asked.append(targets)
        models = []
        for site, message in self.script.pop(0).items():
            model = FLModelUtils.from_shareable(FLModelUtils.to_shareable(to_model(message)))
            model.meta["client_name"] = site
            models.append(model)
        return models


def exchange(controller):
    return FlareExchange(controller, ["a", "b"], 60.0, gone=[])


def test_a_slow_site_is_asked_again_and_waited_for():
    slow = {"a": of_work_under_way(TASK)}
    controller = Controller({**slow, "b": answered("b")}, slow, {"a": answered("a")})
    received, missing = exchange(controller)(TASK)
    assert controller.asked == [["a", "b"], ["a"], ["a"]]
    assert sorted(answer.update.site for answer in received) == ["a", "b"]
    assert missing == {}


def test_a_silent_site_is_waited_for_once():
    controller = Controller({"b": answered("b")}, {"b": answered("b", NEXT)})
    asking = exchange(controller)
    assert not asking.lacks_sites
    for task in (TASK, NEXT):
        received, missing = asking(task)
        assert [answer.update.site for answer in received] == ["b"]
        assert missing == {"a": "no answer from a, its own log may say why"}
    assert controller.asked == [["a", "b"], ["b"]]
    assert asking.lacks_sites


@pytest.mark.parametrize("again", [True, False])
def test_a_failing_site_is_asked_again_only_if_it_may_have_an_answer(again):
    controller = Controller({"a": of_failure(TASK, "a: no", again=again), "b": answered("b")}, {"b": answered("b")})
    asking = exchange(controller)
    assert asking(TASK).missing == {"a": "a: no"}
    asking(NEXT)
    assert controller.asked[1] == (["a", "b"] if again else ["b"])


def test_a_site_is_who_flare_says_it_is():
    received, _ = exchange(Controller({"a": answered("impostor"), "b": answered("b")}))(TASK)
    assert sorted(answer.update.site for answer in received) == ["a", "b"]


def test_the_end_of_a_job_is_no_ones_silence():
    controller = Controller({})
    controller.abort_signal.triggered = True
    with pytest.raises(RunStopped, match="squares, round 3: FLARE has ended the job"):
        exchange(controller)(TASK)


class Context:
    """As much of FLARE's as an executor asks for."""

    def __init__(self, folder):
        self._folder, self._kept = folder, {}

    def get_identity_name(self):
        return "leeds"

    def get_workspace(self):
        return types.SimpleNamespace(get_site_config_dir=lambda: str(self._folder))

    def set_prop(self, key, value, **_):
        self._kept[key] = value

    def get_prop(self, key):
        return self._kept.get(key)


def asked(executor, context, task):
    """What leaves a site, after its filter."""
    sent = executor.execute(task.kind, FLModelUtils.to_shareable(to_model(of_task(task))), context, None)
    left = OutgoingFilter().process(sent, context)
    return left if left.get_return_code() != ReturnCode.OK else to_message(FLModelUtils.from_shareable(left))


def test_a_task_that_takes_long_is_done_once_while_the_site_says_that_it_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(executor_module, "SIGN_SECONDS", 0.05)
    write_json(tmp_path / SETTINGS, {"runs_dir": str(tmp_path / "runs")})
    site, context = ToyExecutor(["leeds"], "run", pause=0.4), Context(tmp_path)
    begin = Task("begin", STAGE, 3, TASK.weights)
    for task in (begin, TASK):
        heard = [asked(site, context, task)]
        while "under_way" in heard[-1].words:
            heard.append(asked(site, context, task))
        assert heard[-1].words["count"] == (3 if task is TASK else 0)
    assert len(heard) > 3
    assert len(context.get_prop(executor_module._OUTBOX)._seen) == 1
    start = time.monotonic()
    asked(site, context, TASK)  # asked for once more, it is a new question
    assert time.monotonic() - start < 0.4


def test_what_goes_wrong_at_a_site_is_told_there(tmp_path):
    """The server learns that it failed; the message names files of the hospital's."""
    lost = asked(ToyExecutor(["leeds"], "run"), Context(tmp_path / "nowhere"), TASK)
    assert lost.get_return_code() == ReturnCode.EXECUTION_EXCEPTION
    assert str(tmp_path) not in str(lost)
    write_json(tmp_path / SETTINGS, {"runs_dir": str(tmp_path / "runs")})
    refused = asked(ToyExecutor(["leeds"], "run"), Context(tmp_path), TASK)  # never told to begin
    assert refused.words["failure"] == "leeds failed, its own log says why"
    assert refused.words["again"] is False


def test_an_answer_without_a_site_does_not_leave():
    with pytest.raises(InputError, match="answer: found one that no site of this project gave"):
        OutgoingFilter().process(FLModelUtils.to_shareable(to_model(answered("a"))), Context(pathlib.Path()))


def ended(kept, *, status="FINISHED:EXECUTION_EXCEPTION", **outcome):
    return JobEnd(status, Outcome(kept, **outcome))


JOB = types.SimpleNamespace(name="toy")


def test_jobs_are_submitted_as_long_as_they_keep_something():
    ends = [ended(3, reason="no answer from a")] * 12 + [ended(1, status="FINISHED:COMPLETED")]
    carry_through(lambda job: ends.pop(0), JOB)
    assert ends == []


@pytest.mark.parametrize("fruitless", [ended(0, reason="a failed"), JobEnd("FINISHED:ABORTED", None)])
def test_jobs_that_keep_nothing_end_after_some_attempts(fruitless):
    ends = [ended(1), *[fruitless] * (ATTEMPTS + 1)]
    with pytest.raises(RunStopped, match=f"toy: {fruitless.reason}; the same command again"):
        carry_through(lambda job: ends.pop(0), JOB)
    assert len(ends) == 1


def test_a_job_that_another_will_not_mend_is_the_last():
    ends = [ended(2, reason="another configuration", resumable=False), ended(1)]
    with pytest.raises(RunStopped, match="toy: another configuration"):
        carry_through(lambda job: ends.pop(0), JOB)
    assert len(ends) == 1
