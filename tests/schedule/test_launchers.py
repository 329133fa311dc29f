"""Real processes: what they write, how they end, and who may work on a plan at a time."""

import os
import signal
import subprocess
import sys
import time

import pytest

from fedsim_tf.errors import InputError, RunStopped
from fedsim_tf.schedule.driver import run_plan
from fedsim_tf.schedule.launchers import LocalProcesses, Submitit, estimate_local_speed
from fedsim_tf.schedule.plan import Job, Plan

MODULE = "job_for_tests"
CODE = """
import pathlib, sys, time
name, status, seconds = sys.argv[1:4]
print(f"this is {name}", flush=True)
print("and this an error", file=sys.stderr, flush=True)
time.sleep(float(seconds))
pathlib.Path(name + ".made").write_text(name)
sys.exit(int(status))
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / f"{MODULE}.py").write_text(CODE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def job(name, *after, status=0, seconds=0):
    return Job(name, (MODULE, name, str(status), str(seconds)), 1.0, after)


def run(plan, launcher, **options):
    return run_plan(plan, launcher, say=lambda _: None, sleep=lambda _: time.sleep(0.02), **options)


def test_local_processes_run_here_and_log_command_and_output(tmp_path):
    plan = Plan([job("one"), job("two", "one"), job("bad", status=7), job("never", "bad")], tmp_path / "plan")
    outcome = run(plan, LocalProcesses(plan.folder), processes=2)
    assert outcome == (("one", "two"), ("bad",), ("never",))
    assert (tmp_path / "two.made").read_text() == "two"
    lines = plan.log(plan.jobs["bad"]).read_text().splitlines()
    assert lines == [f"$ python -m {MODULE} bad 7 0", "this is bad", "and this an error"]


@pytest.mark.parametrize(("processes", "threads"), [(1, "unset"), (2, str(max(1, os.cpu_count() // 2))), (999, "1")])
def test_processes_share_the_cores(tmp_path, monkeypatch, processes, threads):
    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    code = "import os; print(*(os.environ.get(k, 'unset') for k in ('TF_NUM_INTRAOP_THREADS', 'OMP_NUM_THREADS')))"
    (tmp_path / f"{MODULE}.py").write_text(code)
    launcher = LocalProcesses(tmp_path / "plan", processes=processes)
    running = launcher.start(job("one"), tmp_path / "log")
    while running.poll() is None:
        time.sleep(0.02)
    assert (tmp_path / "log").read_text().splitlines()[1] == f"{threads} {threads}"


def test_stopped_jobs_end_at_once(tmp_path):
    launcher = LocalProcesses(tmp_path / "plan")
    running = launcher.start(job("long", seconds=60), tmp_path / "log")
    assert running.poll() is None
    began = time.monotonic()
    running.stop()
    assert time.monotonic() - began < 10
    assert running.poll() not in (None, 0)
    assert not (tmp_path / "long.made").exists()


def test_a_plan_is_locked_while_a_launcher_or_one_of_its_jobs_lives(tmp_path):
    folder = tmp_path / "plan"
    script = (
        "import pathlib, os; from fedsim_tf.schedule.launchers import LocalProcesses; "
        "from fedsim_tf.schedule.plan import Job; "
        f"LocalProcesses(pathlib.Path({str(folder)!r})).start("
        f"Job('orphan', ({MODULE!r}, 'orphan', '0', '4'), 1.0), pathlib.Path('orphan.log')); os._exit(9)"
    )
    killed = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert killed.returncode == 9, killed.stderr
    with pytest.raises(RunStopped, match="another process works on this plan, or a job that it started"):
        LocalProcesses(folder)
    deadline = time.monotonic() + 30
    while (free := launcher_if_free(folder)) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert free is not None
    assert (tmp_path / "orphan.made").exists()


def launcher_if_free(folder):
    try:
        return LocalProcesses(folder)
    except RunStopped:
        return None


def test_submitit_runs_the_same_plan(tmp_path):
    pytest.importorskip("submitit")
    plan = Plan([job("one"), job("two", "one"), job("bad", status=7), job("never", "bad")], tmp_path / "plan")
    launcher = Submitit(plan.folder, cluster="local", timeout_min=2)
    outcome = run(plan, launcher, processes=2)
    assert outcome == (("one", "two"), ("bad",), ("never",))
    assert (tmp_path / "two.made").read_text() == "two"
    assert plan.log(plan.jobs["bad"]).read_text().splitlines()[0] == f"$ python -m {MODULE} bad 7 0"


def test_one_launcher_at_a_time_submits_a_plan(tmp_path):
    pytest.importorskip("submitit")
    launcher = Submitit(tmp_path / "plan", cluster="local", timeout_min=2)
    with pytest.raises(RunStopped, match="another process works on this plan"):
        Submitit(tmp_path / "plan", cluster="local")
    del launcher


@pytest.mark.parametrize("interrupts", [signal.default_int_handler, signal.SIG_IGN], ids=["front", "background"])
def test_a_job_that_the_queue_kills_has_failed(tmp_path, interrupts):
    pytest.importorskip("submitit")
    launcher = Submitit(tmp_path / "plan", cluster="local")
    before = signal.signal(signal.SIGINT, interrupts)
    try:
        running = launcher.start(job("long", seconds=60), tmp_path / "log")
        assert signal.getsignal(signal.SIGINT) == interrupts
    finally:
        signal.signal(signal.SIGINT, before)
    running.stop()
    deadline = time.monotonic() + 60
    while (status := running.poll()) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert status not in (None, 0)
    assert "has not produced any output" in (tmp_path / "log").read_text()


def test_parameters_that_submitit_does_not_know_are_refused(tmp_path):
    pytest.importorskip("submitit")
    with pytest.raises(InputError, match=r"cluster: .*colour"):
        Submitit(tmp_path, cluster="local", colour="blue")
    with pytest.raises(InputError, match=r"cluster: .*timeout_min"):
        Submitit(tmp_path, cluster="local", timeout_min="long")


def test_a_cluster_that_is_not_there_is_refused(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"launcher: .*srun.*expected a machine that has slurm"):
        Submitit(tmp_path / "plan", cluster="slurm")


def test_processes_of_one_machine_are_no_faster_than_its_cores(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert [estimate_local_speed(processes, cores_used=1) for processes in (1, 2, 16)] == [1, 2, 4]
    assert [estimate_local_speed(processes, cores_used=2) for processes in (1, 2, 16)] == [1, 2, 2]
    assert estimate_local_speed(2, cores_used=8) == 1


def test_without_submitit_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(InputError, match=r"launcher: found no submitit.*\[cluster\]"):
        Submitit(tmp_path, cluster="slurm")
