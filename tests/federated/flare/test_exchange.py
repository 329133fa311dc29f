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
from fedsim_tf.federated.flare.controller import FlareExchange, JobOutcome
from fedsim_tf.federated.flare.deployment import ATTEMPTS, FRUITFUL_SECONDS, JobEnd, carry_through
from fedsim_tf.federated.flare.executor import OutgoingFilter
from fedsim_tf.federated.flare.wire import message_to_model, model_to_message
from fedsim_tf.federated.in_process import InProcess
from fedsim_tf.federated.message import answer_to_message, report_failure, report_under_way, task_to_message
from fedsim_tf.federated.outbox import NOT_BEGUN
from fedsim_tf.federated.site import Site
from fedsim_tf.federated.task import Answer, Task
from fedsim_tf.federated.update import SiteUpdate
from fedsim_tf.federated.wire_record import RECEIVED, SENT, WireRecord, read_wire_record
from fedsim_tf.files import write_json
from fedsim_tf.training.run import RunFolder
from tests.federated.flare.toy_job import SETTINGS, ToyExecutor, toy_config
from tests.federated.records_for_tests import read_arrays
from tests.federated.squares import LENGTH, STAGE, ToyWork

TASK = Task("gradients", STAGE, 3, {"shape/0": np.zeros(LENGTH, np.float32)})
NEXT = Task("gradients", STAGE, 4, TASK.weights)


def answered(site, task=TASK):
    return answer_to_message(task, Answer(SiteUpdate(site, task.stage, task.round, 3, task.weights), {"square": 1.0}))


class Controller:
    """Gives what a script says, question by question, and notes who was asked."""

    def __init__(self, *script):
        self.script, self.asked, self.sent = list(script), [], []
        self.abort_signal = types.SimpleNamespace(triggered=False)

    def send_model_and_wait(self, *, task_name, data, targets, timeout):
        self.asked.append(targets)
        self.sent.append(data)
        models = []
        for site, message in self.script.pop(0).items():
            model = FLModelUtils.from_shareable(FLModelUtils.to_shareable(message_to_model(message)))
            model.meta["client_name"] = site
            models.append(model)
        return models


@pytest.fixture
def exchange(tmp_path):
    return lambda controller, **options: FlareExchange(
        controller, ["a", "b"], WireRecord(tmp_path, RECEIVED), timeout=60.0, **{"quorum": 1, **options}
    )


def test_a_slow_site_is_asked_again_and_waited_for(exchange):
    slow = {"a": report_under_way(TASK)}
    controller = Controller({**slow, "b": answered("b")}, slow, {"a": answered("a")})
    received, missing = exchange(controller)(TASK)
    assert controller.asked == [["a", "b"], ["a"], ["a"]]
    assert sorted(answer.update.site for answer in received) == ["a", "b"]
    assert missing == {}
    assert list(controller.sent[0].params) == ["weights/shape/0"]
    assert [model.params for model in controller.sent[1:]] == [{}, {}]  # who is at work has the weights


def test_others_are_not_waited_for_once_the_quorum_is_lost(exchange, caplog):
    """Their work may take days, and meanwhile the job would say nothing."""
    controller = Controller({"a": report_failure(TASK, "the disk is full"), "b": report_under_way(TASK)})
    received, missing = exchange(controller, quorum=2)(TASK)
    assert received == []
    assert missing == {"a": "a: the disk is full"}
    assert "This job is without a from here on: a: the disk is full" in caplog.text
    assert exchange(Controller(), quorum=2, gone=["b"])(TASK).missing == {"b": "b is not connected"}


def test_a_silent_site_is_waited_for_once(exchange):
    controller = Controller({"b": answered("b")}, {"b": answered("b", NEXT)})
    asking = exchange(controller)
    assert not asking.lacks_sites
    for task in (TASK, NEXT):
        received, missing = asking(task)
        assert [answer.update.site for answer in received] == ["b"]
        assert missing == {"a": "no answer from a (waited at most 60 s, federated.timeout), its own log may say why"}
    assert controller.asked == [["a", "b"], ["b"]]
    assert asking.lacks_sites


def test_a_failing_site_is_not_asked_again_in_this_job(exchange):
    """What went on from numbers that are not finite must not be kept; the next job begins from what was."""
    controller = Controller({"a": report_failure(TASK, "no"), "b": answered("b")}, {"b": answered("b", NEXT)})
    asking = exchange(controller)
    assert asking(TASK).missing == {"a": "a: no"}
    assert asking(NEXT).missing == {"a": "a: no"}
    assert controller.asked == [["a", "b"], ["b"]]


def test_messages_of_another_kind_cost_their_site_alone(exchange):
    foreign = answer_to_message(TASK, Answer(SiteUpdate("a", "", 0, 0), {}))._replace(
        words={"round": 3, "greeting": "hello"}
    )
    received, missing = exchange(Controller({"a": foreign, "b": answered("b")}))(TASK)
    assert [answer.update.site for answer in received] == ["b"]
    assert "a has sent no message of this project" in missing["a"]


@pytest.mark.parametrize(
    "odd",
    [
        lambda message: message._replace(arrays={"gradients/shape/0": [1.0, 2.0]}),
        lambda message: message._replace(arrays={"latents/sum": [1.0], "latents/sum_outer": [[1.0]]}),
        lambda message: message._replace(words={**message.words, "stage": "s" * 1000}),
    ],
)
def test_whatever_a_site_sends_costs_that_site_alone(exchange, odd):
    received, missing = exchange(Controller({"a": odd(answered("a")), "b": answered("b")}))(TASK)
    assert [answer.update.site for answer in received] == ["b"]
    assert "a has sent" in missing["a"]
    assert len(missing["a"]) < 600


def test_what_arrives_is_recorded(exchange, tmp_path):
    exchange(Controller({"a": report_under_way(TASK), "b": answered("b")}, {"a": answered("a")}))(TASK)
    size = 4 * LENGTH
    assert [row[:-1] for row in read_wire_record(tmp_path, RECEIVED)] == [
        ("a", "gradients", STAGE, 3, 0, 0, 0, "under way"),
        ("b", "gradients", STAGE, 3, 1, size, 1, ""),
        ("a", "gradients", STAGE, 3, 1, size, 1, ""),
    ]
    assert {row[1:] for row in read_arrays(tmp_path, RECEIVED)} == {
        ("gradients", "gradients/shape/0", f"{LENGTH}", "float32")
    }


def test_a_site_is_who_flare_says_it_is(exchange):
    received, _ = exchange(Controller({"a": answered("impostor"), "b": answered("b")}))(TASK)
    assert sorted(answer.update.site for answer in received) == ["a", "b"]


def test_the_end_of_a_job_is_no_ones_silence(exchange):
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
    sent = executor.execute(
        task.kind, FLModelUtils.to_shareable(message_to_model(task_to_message(task))), context, None
    )
    left = OutgoingFilter().process(sent, context)
    return left if left.get_return_code() != ReturnCode.OK else model_to_message(FLModelUtils.from_shareable(left))


def test_a_task_that_takes_long_is_done_once_while_the_site_says_that_it_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(executor_module, "SIGN_SECONDS", 0.05)
    write_json(tmp_path / SETTINGS, {"runs_dir": str(tmp_path / "runs")})
    site, context = ToyExecutor(["leeds"], "run", pause=0.4), Context(tmp_path)
    begin = Task("begin", STAGE, 3, TASK.weights)
    for task in (begin, TASK):
        heard = [asked(site, context, task)]
        while "under_way" in heard[-1].words:
            heard.append(asked(site, context, task))
        assert heard[-1].words["count"] == (3 if task is TASK else 4)
    assert len(heard) > 3
    leeds = tmp_path / "runs" / "run" / "sites" / "leeds"
    sent = [row for row in read_wire_record(leeds, SENT) if row.task == "gradients"]
    assert [row.arrays for row in sent] == [0] * (len(sent) - 1) + [1]
    start = time.monotonic()
    assert "under_way" in asked(site, context, TASK).words  # asked for once more, it is a new question
    assert time.monotonic() - start < 0.4
    while "under_way" in asked(site, context, TASK).words:
        pass


def test_both_engines_carry_the_same_bits_of_what_has_no_noise(tmp_path):
    """Gradients, moments and losses of a site of this process, and of the same site behind FLARE's executor."""
    write_json(tmp_path / SETTINGS, {"runs_dir": str(tmp_path / "flare")})
    executor, context = ToyExecutor(["leeds"], "run"), Context(tmp_path)
    alone = Site("leeds", RunFolder(tmp_path / "alone", toy_config(["leeds"])), ToyWork("leeds"))
    exchange, weights = InProcess([alone]), {"shape/0": np.full(LENGTH, 1 / 3, np.float32)}
    tasks = [Task("begin", STAGE, 0, weights), *(Task("gradients", STAGE, i, weights) for i in range(3))]
    tasks += [Task("end", STAGE, 3, weights), Task("latents")]
    for task in tasks:
        (answer,) = exchange(task).received
        wanted, found = answer_to_message(task, answer), asked(executor, context, task)
        assert found.digest == wanted.digest
        for name, array in wanted.arrays.items():
            np.testing.assert_array_equal(found.arrays[name], array)
        assert (found.losses, len(found.arrays)) == (wanted.losses, {"gradients": 1, "latents": 2}.get(task.kind, 0))
    latents = np.eye(4, 64)
    np.testing.assert_array_equal(found.arrays["latents/sum_outer"], latents.T @ latents)


def test_what_goes_wrong_at_a_site_is_told_there(tmp_path):
    """The server learns that it failed; the message names files of the hospital's."""
    lost = asked(ToyExecutor(["leeds"], "run"), Context(tmp_path / "nowhere"), TASK)
    words = {"kind": "gradients", "stage": STAGE, "round": 3, "failure": NOT_BEGUN}
    assert (lost.words, lost.arrays, lost.losses) == (words, {}, {})
    write_json(tmp_path / SETTINGS, {"runs_dir": str(tmp_path / "runs")})
    site, context = ToyExecutor(["leeds"], "run"), Context(tmp_path)
    asked(site, context, Task("alone", "anything"))
    refused = asked(site, context, TASK)  # it was never told to begin
    assert refused.words["failure"] == "failed, its own log says why"


def test_answers_are_checked_and_recorded_without_the_filter_too(tmp_path, monkeypatch):
    """A kit's `privacy.json` may be lost or replaced: what puts the filter there must not be all that looks."""
    write_json(tmp_path / SETTINGS, {"runs_dir": str(tmp_path / "runs")})
    site, context = ToyExecutor(["leeds"], "run"), Context(tmp_path)

    def sent(task):
        answer = site.execute(
            task.kind, FLModelUtils.to_shareable(message_to_model(task_to_message(task))), context, None
        )
        return model_to_message(FLModelUtils.from_shareable(answer))

    sent(Task("begin", STAGE, 3, TASK.weights))
    assert sent(TASK).arrays
    more = {"gradients/shape/1": np.zeros(2, np.float32)}
    honest = executor_module.answer_to_message
    leaky = lambda *given: honest(*given)._replace(arrays=honest(*given).arrays | more)  # noqa: E731
    monkeypatch.setattr(executor_module, "answer_to_message", leaky)
    assert sent(TASK).words["failure"] == "failed, its own log says why"
    rows = read_wire_record(tmp_path / "runs" / "run" / "sites" / "leeds", SENT)
    assert [(row.task, row.arrays) for row in rows] == [("begin", 0), ("gradients", 1), ("gradients", 0)]


def test_an_answer_without_a_site_does_not_leave():
    with pytest.raises(InputError, match="answer: found one that no site of this project gave"):
        OutgoingFilter().process(FLModelUtils.to_shareable(message_to_model(answered("a"))), Context(pathlib.Path()))


def ended(kept, *, status="FINISHED:EXECUTION_EXCEPTION", **outcome):
    return JobEnd(status, JobOutcome(kept, **outcome))


JOB = types.SimpleNamespace(name="toy")


def test_jobs_are_submitted_as_long_as_they_keep_something():
    ends = [ended(3, reason="no answer from a")] * 12 + [ended(1, status="FINISHED:COMPLETED")]
    carry_through(lambda job: ends.pop(0), JOB)
    assert ends == []


def test_jobs_that_last_long_may_have_kept_what_the_server_does_not_count():
    """Sites keep states of their GAN and their U-Nets too, days of work."""
    ends = [ended(0, seconds=FRUITFUL_SECONDS)] * (2 * ATTEMPTS) + [ended(0, status="FINISHED:COMPLETED")]
    carry_through(lambda job: ends.pop(0), JOB)
    assert ends == []


@pytest.mark.parametrize("fruitless", [ended(0, reason="a failed"), JobEnd("FINISHED:ABNORMAL", None)])
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


def test_a_job_that_somebody_aborted_is_not_submitted_again():
    ends = [JobEnd("FINISHED:ABORTED", JobOutcome(4)), ended(1)]
    with pytest.raises(RunStopped, match=r"toy: aborted in FLARE's console, or .*; the same command again goes on"):
        carry_through(lambda job: ends.pop(0), JOB)
    assert len(ends) == 1


def test_sites_that_are_away_for_long_end_nothing():
    """FLARE's queue gives a job up after forty minutes: that says nothing of the work."""
    ends = [JobEnd("FINISHED:CAN_NOT_SCHEDULE", None)] * (3 * ATTEMPTS) + [ended(1, status="FINISHED:COMPLETED")]
    assert list(carry_through(lambda job: ends.pop(0), JOB)) == []
    assert ends == []


def test_who_had_no_part_in_the_end_and_who_was_refused_is_said(caplog):
    why = "without leeds 12 times, the last time at pretraining, round 40: gradients of leeds: found norm 1e9"
    end = ended(1, status="FINISHED:COMPLETED", lacking=["turin"], refused=[why])
    assert carry_through(lambda job: end, JOB) == ["turin"]
    assert caplog.messages[-1] == f"toy: {why}"
    with pytest.raises(RunStopped):
        carry_through(lambda job: ended(0, reason="no quorum", refused=[why]), JOB)
    assert caplog.messages[-1] == f"toy: {why}"
