"""The driver against a launcher that writes down what it is asked: order, failures, interruption, resumption."""

import re

import pytest

from fedsim_tf.schedule.driver import run_plan
from fedsim_tf.schedule.plan import Job, Plan


class Scripted:
    """A launcher whose jobs end with given statuses after a given number of looks."""

    def __init__(self, *, fails=(), refuses=(), stuck=(), looks=1, interrupt_at=None):
        self.fails, self.refuses, self.stuck = set(fails), set(refuses), set(stuck)
        self.looks, self.interrupt_at = looks, interrupt_at
        self.started, self.stopped, self.most, self.running = [], [], 0, set()

    def start(self, job, log):
        if job.name in self.refuses:
            raise OSError("the queue is full")
        self.started.append(job.name)
        self.running.add(job.name)
        self.most = max(self.most, len(self.running))
        return _Running(self, job.name)


class _Running:
    def __init__(self, launcher, name):
        self.launcher, self.name, self.left = launcher, name, launcher.looks

    def poll(self):
        if self.name == self.launcher.interrupt_at:
            raise KeyboardInterrupt
        self.left -= 1
        if self.left:
            return None
        self.launcher.running.remove(self.name)
        return 3 if self.name in self.launcher.fails else 0

    def stop(self):
        self.launcher.stopped.append(self.name)
        if self.name in self.launcher.stuck:
            raise OSError("no such job")


def plan(folder):
    """Two runs of two folds and something made of both."""
    jobs = [Job("data", ("m", "data"), 1.0)]
    for run in ("a", "b"):
        folds = tuple(f"{run}/fold_{k}" for k in range(2))
        jobs += [Job(fold, ("m", fold), 5.0, ("data",)) for fold in folds]
        jobs.append(Job(run, ("m", run), 1.0, folds))
    return Plan([*jobs, Job("both", ("m", "both"), 1.0, ("a", "b"))], folder)


def run(folder, launcher, processes=1, said=None):
    said = [] if said is None else said
    return run_plan(plan(folder), launcher, processes=processes, say=said.append, sleep=lambda _: None)


def test_one_process_follows_the_plans_order(tmp_path):
    launcher = Scripted()
    outcome = run(tmp_path, launcher)
    assert launcher.started == ["data", "a/fold_0", "a/fold_1", "a", "b/fold_0", "b/fold_1", "b", "both"]
    assert set(outcome.done) == set(launcher.started)
    assert (outcome.failed, outcome.waiting) == ((), ())
    assert launcher.most == 1


@pytest.mark.parametrize("processes", [2, 3, 8])
def test_several_processes_never_start_what_still_waits(tmp_path, processes):
    launcher = Scripted(looks=2)
    outcome = run(tmp_path, launcher, processes)
    order = launcher.started.index
    assert len(outcome.done) == 8
    assert launcher.most == min(processes, 4)
    for name, job in plan(tmp_path).jobs.items():
        assert all(order(before) < order(name) for before in job.after)


def test_a_failed_job_is_listed_and_stops_only_what_waits_for_it(tmp_path):
    said = []
    outcome = run(tmp_path, Scripted(fails=["a/fold_1"]), said=said)
    assert outcome.failed == ("a/fold_1",)
    assert outcome.waiting == ("a", "both")
    assert {"b", "b/fold_0", "a/fold_0"} <= set(outcome.done)
    (line,) = [line for line in said if "FAILED" in line]
    assert "a/fold_1: FAILED with status 3" in line
    assert "a/fold_1.log" in line


def test_a_job_that_cannot_be_started_has_failed_and_stops_no_other(tmp_path):
    said = []
    launcher = Scripted(refuses=["a/fold_0"])
    outcome = run(tmp_path, launcher, 2, said)
    assert outcome.failed == ("a/fold_0",)
    assert outcome.waiting == ("a", "both")
    assert "a/fold_0: FAILED to start (the queue is full)" in said
    assert {"a/fold_1", "b"} <= set(outcome.done)
    assert launcher.stopped == []


def test_the_next_start_runs_what_failed_and_what_waited_alone(tmp_path):
    run(tmp_path, Scripted(fails=["a/fold_1"]))
    launcher = Scripted()
    outcome = run(tmp_path, launcher)
    assert launcher.started == ["a/fold_1", "a", "both"]
    assert len(outcome.done) == 8
    assert run(tmp_path, nothing := Scripted()).done == outcome.done
    assert nothing.started == []


def test_an_interruption_stops_what_runs_and_keeps_what_is_done(tmp_path):
    launcher = Scripted(interrupt_at="a/fold_1")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, launcher)
    assert launcher.stopped == ["a/fold_1"]
    run(tmp_path, later := Scripted())
    assert later.started[0] == "a/fold_1"
    assert "a/fold_0" not in later.started


def test_a_job_that_cannot_be_stopped_does_not_keep_the_others_from_it(tmp_path):
    launcher = Scripted(interrupt_at="a/fold_1", stuck=["a/fold_0", "b/fold_0"], looks=9)
    with pytest.raises(OSError, match="no such job"):
        run(tmp_path, launcher, 4)
    assert set(launcher.stopped) == {"a/fold_0", "a/fold_1", "b/fold_0", "b/fold_1"}


def test_time_left_is_the_estimate_corrected_by_what_was_measured(tmp_path):
    said = []
    run(tmp_path, Scripted(), said=said)
    quick = []
    run_plan(plan(tmp_path / "other"), Scripted(), processes=1, speed=4.0, say=quick.append, sleep=lambda _: None)
    seconds = [float(re.search(r"about ([\d.]+) s left$", lines[1])[1]) for lines in (said, quick)]
    assert seconds[0] == pytest.approx(4 * seconds[1], rel=0.2)
    left = int(re.search(r"1 of 8 jobs done, about (\d+) s left$", said[1])[1])
    assert 0.5 * 23 < left < 23  # that many seconds were estimated; the first of them took none, but is only one
    assert said[-1].endswith("8 of 8 jobs done, about 0 s left")
