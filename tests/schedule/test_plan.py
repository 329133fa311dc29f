"""Plans: what they refuse, what they remember, what can start."""

import datetime
import json

import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.schedule.plan import Job, Plan


def job(name, *after, seconds=10.0, makes=None, disk=0.0):
    return Job(name, ("some.module", f"--name={name}"), seconds, after, makes, disk=disk)


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ([job("a"), job("a")], "two jobs of one name"),
        ([job("a", "b")], "wait for b"),
        ([job("a", "b"), job("b", "c"), job("c", "a")], "a circle, "),
    ],
)
def test_impossible_plans_are_refused(tmp_path, jobs, message):
    with pytest.raises(InputError, match=message):
        Plan(jobs, tmp_path)


def test_what_can_start_has_all_that_it_waits_for_in_the_plans_order(tmp_path):
    plan = Plan([job("c", "a", "b"), job("b"), job("a"), job("d", "a")], tmp_path)
    names = lambda done, started=(): [one.name for one in plan.ready(set(done), set(started))]  # noqa: E731
    assert names(()) == ["b", "a"]
    assert names(["a"]) == ["b", "d"]
    assert names(["a"], ["b"]) == ["d"]
    assert names(["a", "b"]) == ["c", "d"]


def test_a_job_is_done_once_recorded_for_the_same_settings_however_its_paths_are_spelled(tmp_path):
    first = Plan([job("runs/a")], tmp_path)
    first.record(first.jobs["runs/a"], 12.34)
    again = Plan([job("runs/a")], tmp_path)
    assert again.is_done(again.jobs["runs/a"])
    assert again.seconds_recorded() == 12.3
    spelled = Plan([Job("runs/a", ("some.module", "--name=../here/runs/a"), 1.0)], tmp_path)
    assert spelled.is_done(spelled.jobs["runs/a"])
    other = Plan([Job("runs/a", ("some.module", "--name=runs/a"), 1.0, settings="others")], tmp_path)
    assert not other.is_done(other.jobs["runs/a"])
    (tmp_path / "jobs" / "runs" / "a.json").write_text("{")
    assert not again.is_done(again.jobs["runs/a"])


def test_a_job_whose_result_was_deleted_is_not_done(tmp_path):
    result = tmp_path / "runs" / "metrics.json"
    plan = Plan([job("a", makes=result)], tmp_path)
    plan.record(plan.jobs["a"], 1.0)
    assert not plan.is_done(plan.jobs["a"])
    assert plan.metrics() == {}
    result.parent.mkdir()
    result.write_text(json.dumps({}))
    assert plan.is_done(plan.jobs["a"])
    assert plan.metrics() == {"a": result}


def test_description_counts_jobs_by_run_and_estimates_the_rest(tmp_path):
    plan = Plan(
        [
            job("x/fold_0", seconds=600, disk=4e8),
            job("x/fold_1", seconds=600, disk=3e8),
            job("x", "x/fold_0", seconds=120),
        ],
        tmp_path / "plan",
    )
    plan.record(plan.jobs["x/fold_0"], 500.0)
    lines = plan.describe(processes=4, speed=2.0).splitlines()
    assert lines[0].split() == ["x", "1", "of", "3", "jobs", "done"]
    assert "3 jobs, 1 done" in lines[1]
    assert lines[2].startswith("disk for checkpoints of the rest: 300 MB; ")
    assert "6 min, 4 at a time" in lines[3]


def test_one_job_is_no_jobs(tmp_path):
    lines = Plan([job("x")], tmp_path).describe(processes=1, speed=1.0).splitlines()
    assert lines[0].split() == ["x", "0", "of", "1", "job", "done"]
    assert lines[1].startswith("1 job, 0 done")


def test_records_say_when_in_utc(tmp_path):
    plan = Plan([job("a")], tmp_path)
    plan.record(plan.jobs["a"], 1.0)
    finished = datetime.datetime.fromisoformat(json.loads((tmp_path / "jobs" / "a.json").read_text())["finished"])
    assert finished.utcoffset() == datetime.timedelta(0)
    assert abs(datetime.datetime.now(datetime.timezone.utc) - finished) < datetime.timedelta(minutes=1)


def test_a_job_is_done_again_with_other_settings_and_after_what_it_waits_for_was(tmp_path):
    made = tmp_path / "made"
    made.write_text("")

    def plan(settings):
        return Plan([Job("a", ("m",), 1.0, (), made, settings), job("b", "a"), job("c", "b")], tmp_path / "plan")

    first = plan("demo of today")
    for name in "abc":
        first.record(first.jobs[name], 1.0)
    assert all(first.is_done(one) for one in first.jobs.values())
    first.check_unchanged()
    later = plan("demo of tomorrow")
    assert not any(later.is_done(one) for one in later.jobs.values())
    with pytest.raises(InputError, match=r"a as other settings, or other code's.* another folder for the schedule"):
        later.check_unchanged()
    file = tmp_path / "plan" / "jobs" / "a.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"finished": "2999-01-01T00:00:00+00:00"}))
    assert [name for name, one in first.jobs.items() if first.is_done(one)] == ["a"]
    made.unlink()
    later.check_unchanged()
