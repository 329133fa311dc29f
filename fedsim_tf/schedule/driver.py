"""The driver of a plan: it starts what can start, goes on after failures, and says how far it is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import NamedTuple

from fedsim_tf.progress import duration
from fedsim_tf.schedule.launchers import Launcher, Running
from fedsim_tf.schedule.plan import Job, Plan, count_jobs

POLL_SECONDS = 1.0


class PlanOutcome(NamedTuple):
    """The names of a plan's jobs by what became of them.

    Attributes:
      done: jobs that have ended well, now or before.
      failed: jobs that ended with another status than 0, or could not be started.
      waiting: jobs that were not started because others failed that they wait for.
    """

    done: tuple[str, ...]
    failed: tuple[str, ...]
    waiting: tuple[str, ...]


def run_plan(
    plan: Plan,
    launcher: Launcher,
    *,
    processes: int,
    speed: float | None = None,
    say: Callable[[str], None] = print,
    sleep: Callable[[float], None] = time.sleep,
) -> PlanOutcome:
    """Run every job that is not done yet; a job that fails does not stop those that do not wait for it.

    Args:
      plan: the jobs.
      launcher: starts them.
      processes: how many jobs may run at a time.
      speed: how much faster so many processes are than one, to estimate the time that is left; None: `processes` times.
      say: takes a line for each job that starts or ends.
      sleep: waits so many seconds; tests give another one.

    Raises:
      KeyboardInterrupt: the driver was interrupted; the running jobs are stopped first.
    """
    return _Driver(plan, launcher, processes, speed or processes, say).run(sleep)


class _Driver:
    def __init__(self, plan: Plan, launcher: Launcher, processes: int, speed: float, say: Callable[[str], None]):
        self._plan, self._launcher, self._processes, self._speed, self._say = plan, launcher, processes, speed, say
        self._done = {job.name for job in plan.jobs.values() if plan.is_done(job)}
        self._failed: list[str] = []
        self._running: dict[str, tuple[Running, float]] = {}  # by job, with the time of its start
        self._spent = self._expected = 0.0  # seconds of the jobs that have ended, measured and estimated
        # So many seconds count as estimated correctly before any job has ended: the first few jobs say little.
        self._trusted = 1.0 + 0.05 * sum(job.seconds for job in plan.jobs.values())

    def run(self, sleep: Callable[[float], None]) -> PlanOutcome:
        try:
            while self._start_some() or self._running:
                sleep(POLL_SECONDS)
                self._note_ended_jobs()
        except BaseException:
            with contextlib.ExitStack() as each:  # the others are stopped even if one cannot be
                for running, _ in self._running.values():
                    each.callback(running.stop)
            raise
        ended = self._done | set(self._failed)
        waiting = tuple(name for name in self._plan.jobs if name not in ended)
        return PlanOutcome(tuple(name for name in self._plan.jobs if name in self._done), tuple(self._failed), waiting)

    def _start_some(self) -> bool:
        started = set(self._running) | set(self._failed)
        free = self._processes - len(self._running)
        chosen = list(self._plan.ready(self._done, started))[: max(0, free)]
        for job in chosen:
            try:
                running = self._launcher.start(job, self._plan.log(job))
            except Exception as error:  # a queue may refuse a job, a machine may refuse a process
                self._failed.append(job.name)
                self._say(f"{job.name}: FAILED to start ({error})")
                continue
            self._say(f"{job.name}: started, output in {self._plan.log(job)}")
            self._running[job.name] = (running, time.monotonic())
        return bool(chosen)

    def _note_ended_jobs(self) -> None:
        for name, (running, since) in list(self._running.items()):
            status = running.poll()
            if status is not None:
                del self._running[name]
                self._note_end(self._plan.jobs[name], status, time.monotonic() - since)

    def _note_end(self, job: Job, status: int, seconds: float) -> None:
        if status == 0:
            self._plan.record(job, seconds)
            self._done.add(job.name)
            self._spent += seconds
            self._expected += job.seconds
            outcome = f"done in {duration(seconds)}"
        else:
            self._failed.append(job.name)
            outcome = f"FAILED with status {status}, see {self._plan.log(job)}"
        count = f"{len(self._done)} of {count_jobs(len(self._plan.jobs))} done"
        self._say(f"{job.name}: {outcome}; {count}, about {duration(self._seconds_left())} left")

    def _seconds_left(self) -> float:
        """Return the estimated time of the remaining jobs, corrected by how the estimates of ended jobs fared."""
        ended = self._done | set(self._failed)
        rest = sum(job.seconds for job in self._plan.jobs.values() if job.name not in ended)
        return rest * (self._spent + self._trusted) / (self._expected + self._trusted) / self._speed
