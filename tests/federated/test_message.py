"""Tasks and answers as messages, and the last check of what leaves a site."""

import os

import numpy as np
import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.federated.message import (
    MOST_ARRAYS,
    MOST_LOSSES,
    Message,
    answer_to_message,
    check_form,
    message_to_answer,
    message_to_task,
    report_failure,
    report_under_way,
    task_to_message,
)
from fedsim_tf.federated.outbox import NOT_BEGUN, Outbox, is_plain_sign
from fedsim_tf.federated.task import Answer, Task
from fedsim_tf.federated.update import SiteUpdate
from fedsim_tf.federated.wire_record import SENT, read_wire_record
from fedsim_tf.models.latents import LatentDistribution, LatentStatistics
from tests.federated.records_for_tests import read_arrays

WEIGHTS = {"shape/0": np.arange(6, dtype=np.float32).reshape(2, 3), "material/0": np.ones(4, np.float32)}
SHAPES = {name: value.shape for name, value in WEIGHTS.items()}
TASK = Task("gradients", "pretraining", 7, WEIGHTS)


def answer(**changes):
    values = {"site": "a", "stage": "pretraining", "round": 7, "count": 3, "gradients": WEIGHTS, **changes}
    return Answer(SiteUpdate(**values), {"iou": 0.25})


def outbox(folder, **changes):
    return Outbox("a", folder, **{"shapes": SHAPES, "latent": 2, "minimum": 3, **changes})


def test_a_task_arrives_as_it_was_sent():
    distribution = LatentDistribution(np.arange(2.0), np.eye(2))
    sent = Task("begin", "semi_supervised", 5, WEIGHTS, distribution, True)
    found = message_to_task(task_to_message(sent))
    assert (found.kind, found.stage, found.round, found.with_unlabelled) == ("begin", "semi_supervised", 5, True)
    assert list(found.weights) == list(WEIGHTS)
    for name, value in WEIGHTS.items():
        np.testing.assert_array_equal(found.weights[name], value)
    np.testing.assert_array_equal(found.distribution.mean, distribution.mean)
    np.testing.assert_array_equal(found.distribution.covariance, distribution.covariance)
    assert message_to_task(task_to_message(Task("keep"))).distribution is None


def test_an_answer_arrives_as_it_was_sent_from_whom_the_engine_says():
    latents = LatentStatistics.of(np.random.default_rng(0).standard_normal((4, 2)))
    update, losses = message_to_answer("b", answer_to_message(TASK, answer(latents=latents, count=4)))
    assert (update.site, update.stage, update.round, update.count, losses) == ("b", "pretraining", 7, 4, {"iou": 0.25})
    np.testing.assert_array_equal(update.gradients["shape/0"], WEIGHTS["shape/0"])
    np.testing.assert_array_equal(update.latents.sum_outer, latents.sum_outer)
    assert update.latents.count == 4


def test_messages_of_another_kind_are_refused():
    with pytest.raises(InputError, match="answer of b: found no 'count'"):
        message_to_answer("b", task_to_message(TASK))
    with pytest.raises(InputError, match="task: found no 'with_unlabelled'"):
        message_to_task(answer_to_message(TASK, answer()))


@pytest.mark.parametrize(("mean", "covariance"), [(np.zeros(2), np.eye(3)), (np.array([0.0, np.nan]), np.eye(2))])
def test_a_distribution_that_cannot_be_one_is_refused(mean, covariance):
    with pytest.raises(InputError, match="task: found a mean of shape"):
        message_to_task(
            task_to_message(Task("begin", "semi_supervised", 0, WEIGHTS, LatentDistribution(mean, covariance)))
        )


def test_what_may_leave_passes_and_is_recorded(tmp_path):
    box = outbox(tmp_path)
    message = answer_to_message(TASK, answer())
    assert box.let_pass(message) is message
    box.let_pass(report_failure(TASK, "loss iou is nan"))
    moments = LatentStatistics.of(np.eye(3, 2))
    box.let_pass(answer_to_message(Task("latents"), answer(stage="", round=0, gradients={}, latents=moments)))
    outbox(tmp_path).let_pass(message)  # a second start writes on, and no array twice
    rows = read_wire_record(tmp_path, SENT)
    assert [row[:-1] for row in rows] == [
        ("a", "gradients", "pretraining", 7, 2, 40, 1, ""),
        ("a", "gradients", "pretraining", 7, 0, 0, 0, "loss iou is nan"),
        ("a", "latents", "", 0, 2, 48, 1, ""),
        ("a", "gradients", "pretraining", 7, 2, 40, 1, ""),
    ]
    first, sign, other, again = (row.digest for row in rows)
    assert (sign, again) == ("", first)
    assert first != other
    assert [row[1:] for row in read_arrays(tmp_path, SENT)] == [
        ("gradients", "gradients/shape/0", "2x3", "float32"),
        ("gradients", "gradients/material/0", "4", "float32"),
        ("latents", "latents/sum", "2", "float64"),
        ("latents", "latents/sum_outer", "2x2", "float64"),
    ]


def test_a_record_is_on_the_disk_with_its_name_before_the_message_leaves(tmp_path, monkeypatch):
    """A power cut right after the first gradients have left must not lose the table that says so."""
    forced, fsync = [], os.fsync

    def note(handle):
        forced.append(os.path.basename(os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    folder = tmp_path / "site"
    folder.mkdir()
    box = outbox(folder)
    box.let_pass(answer_to_message(TASK, answer()))
    assert forced == ["sent.csv", "site", "sent_arrays.csv", "site"]
    del forced[:]
    box.let_pass(answer_to_message(TASK, answer()))
    assert forced == ["sent.csv"]
    outbox(folder)  # the process of before may have been killed between the two
    assert forced == ["sent.csv", "site"]


IMAGE = np.zeros((32, 32, 32), np.float32)
TOO_MUCH = {
    "an image": ({"gradients/image": IMAGE}, {}, "an array 'gradients/image'"),
    "an image under a known name": ({"gradients/shape/0": IMAGE}, {}, r"shape/0 of shape \(32, 32, 32\), not \(2, 3\)"),
    "the table of latents": ({"latents/table": np.zeros((4, 2), np.float32)}, {}, "an array 'latents/table'"),
    "whole numbers": ({"gradients/shape/0": np.ones((2, 3), np.int32)}, {}, "shape/0 of int32"),
    "infinity": ({"gradients/shape/0": np.full((2, 3), np.inf, np.float32)}, {}, "not all finite"),
    "a list": ({"gradients/shape/0": [[0.0]]}, {}, "shape/0 of shape None"),
    "a word": ({}, {"patient": "Ada"}, "'patient' beside the answer"),
    "an image as a word": ({}, {"stage": IMAGE}, "'stage' beside the answer"),
    "a long word": ({}, {"stage": "x" * 600}, "'stage' beside the answer"),
}


@pytest.mark.parametrize("case", TOO_MUCH)
def test_nothing_else_passes_and_nothing_of_it_is_recorded_as_sent(tmp_path, case):
    arrays, words, message = TOO_MUCH[case]
    sent = answer_to_message(TASK, answer())
    sent = sent._replace(arrays={**sent.arrays, **arrays}, words={**sent.words, **words})
    with pytest.raises(InputError, match=f"what a sends: found .*{message}.*; it stays here"):
        outbox(tmp_path).let_pass(sent)
    assert list(tmp_path.iterdir()) == []


def test_a_site_that_is_still_being_opened_can_say_nothing_but_that():
    assert is_plain_sign(report_under_way(TASK))
    assert is_plain_sign(report_failure(TASK, NOT_BEGUN))
    for more in ({"arrays": WEIGHTS}, {"losses": {"iou": 0.5}}, {"words": {"kind": "begin", "patient": "Ada"}}):
        assert not is_plain_sign(report_under_way(TASK)._replace(**more))
    assert not is_plain_sign(report_failure(TASK, "no"))
    assert not is_plain_sign(report_under_way(Task("begin", "x" * 600)))


def test_losses_are_numbers_and_few(tmp_path):
    sent = answer_to_message(TASK, answer())
    many = {f"voxel_{i}": 0.5 for i in range(MOST_LOSSES + 1)}
    cases = [(many, "65 losses"), ({"Ada Lovelace, 36 years": 0.5}, "'Ada Lovelace, 36 years'")]
    cases += [({"iou": np.zeros(9)}, "loss iou of a"), ({"iou": float("nan")}, "loss iou of a: found nan")]
    for losses, message in cases:
        with pytest.raises(InputError, match=message):
            outbox(tmp_path).let_pass(sent._replace(losses=losses))


def test_what_arrives_has_no_more_names_than_a_table_can_hold():
    """The site may have another version, or be none of this project."""
    sent = answer_to_message(TASK, answer())
    one = WEIGHTS["material/0"]
    for more in (
        {"losses": dict.fromkeys((f"loss_{i}" for i in range(MOST_LOSSES + 1)), 0.5)},
        {"losses": {"Ada Lovelace, 36 years": 0.5}},
        {"losses": [0.5]},
        {"arrays": dict.fromkeys((f"a/{i}" for i in range(MOST_ARRAYS + 1)), one)},
        {"arrays": {"a" * 600: one}},
        {"arrays": {"two\nlines": one}},
    ):
        with pytest.raises(InputError, match=r"found .*; expected"):
            check_form(sent._replace(**more))
    check_form(sent._replace(losses={"iou": float("nan")}))  # costs the round, not the job


def test_moments_longer_than_any_latent_are_refused_unseen():
    """Their eigenvalues would keep the server for hours."""
    moments = LatentStatistics(4, np.zeros(5000), np.zeros((5000, 5000)))
    with pytest.raises(InputError, match="latents of a: found moments of shapes"):
        answer(stage="", round=0, gradients={}, latents=moments)


def test_moments_leave_only_when_asked_for_and_of_enough_volumes(tmp_path):
    moments = LatentStatistics.of(np.eye(2))
    few = answer_to_message(Task("latents"), answer(stage="", round=0, gradients={}, latents=moments, count=2))
    with pytest.raises(InputError, match="an array 'latents/sum' in an answer to 'latents'"):
        outbox(tmp_path).let_pass(few)
    beside = answer_to_message(TASK, answer(latents=moments))
    with pytest.raises(InputError, match="an array 'latents/sum' in an answer to 'gradients'"):
        outbox(tmp_path).let_pass(beside)
    with pytest.raises(InputError, match="an array 'gradients/shape/0' in an answer to 'keep'"):
        outbox(tmp_path).let_pass(answer_to_message(Task("keep", "pretraining", 7), answer()))
    with pytest.raises(InputError, match="no kind of task"):
        outbox(tmp_path).let_pass(Message({}, {}, {}))
