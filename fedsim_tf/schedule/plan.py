"""Jobs, what each waits for, and which are done."""

from __future__ import annotations

import datetime
import graphlib
import pathlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fedsim_tf.errors import InputError
from fedsim_tf.files import read_json, write_json
from fedsim_tf.progress import duration, room
from fedsim_tf.training.run import METRICS


class Job(NamedTuple):
    """One command of this project.

    Attributes:
      name: such as "single_site/ct20-4/fold_0".
      command: the module and its flags, such as ("experiments.single_site", "--dataset=ct20").
      seconds: about how long it takes on two cores.
      after: names of the jobs that have to be done before.
      makes: the file that shows that it is done; None where only its record does.
      settings: a digest of all that decides what it does: presets change it and not the command, another spelling of
        a folder's path the command alone.
      disk: about how many bytes it keeps.
    """

    name: str
    command: tuple[str, ...]
    seconds: float
    after: tuple[str, ...] = ()
    makes: pathlib.Path | None = None
    settings: str = ""
    disk: float = 0.0

    @property
    def line(self) -> str:
        """The command as typed."""
        return shlex.join(("python", "-m", *self.command))


class Plan:
    """Jobs and the records of those that are done.

    Args:
      jobs: in the order in which they are started, as far as what they wait for allows.
      folder: the plan's; records are kept in `jobs/` and logs in `logs/`.

    Raises:
      InputError: two jobs of one name, a job that waits for none that there is, or that in the end waits for itself.
    """

    def __init__(self, jobs: Sequence[Job], folder: pathlib.Path):
        self.jobs = {job.name: job for job in jobs}
        self.folder = folder
        if len(self.jobs) < len(jobs):
            raise InputError("plan", found="two jobs of one name", expected="a name for each")
        unknown = sorted({name for job in jobs for name in job.after} - set(self.jobs))
        if unknown:
            raise InputError("plan", found=f"jobs that wait for {unknown[0]}", expected="a job of that name")
        try:
            graphlib.TopologicalSorter({job.name: job.after for job in jobs}).prepare()
        except graphlib.CycleError as error:
            raise InputError("plan", found=f"a circle, {' -> '.join(error.args[1])}", expected="none") from None

    def is_done(self, job: Job) -> bool:
        """Whether this very job has ended well, after all that it waits for, and what it made is there."""
        return self._of_done(job) is not None

    def record(self, job: Job, seconds: float) -> None:
        """Notes that a job has ended well, and how long it took."""
        finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        values = {"command": job.command, "settings": job.settings, "seconds": round(seconds, 1), "finished": finished}
        write_json(self._file(job), values)

    def check_unchanged(self) -> None:
        """Refuses a plan whose folder has results of another one, which its jobs could not go on with.

        Raises:
          InputError: names the first job that was done with other settings.
        """
        for job in self.jobs.values():
            record = self._found(job)
            if record is not None and job.makes is not None and job.makes.exists() and not self._is_of(record, job):
                raise InputError(
                    job.makes.parent,
                    found=f"{job.name} as other settings, or other code's preset or phantom cohort, made it",
                    expected="this plan's, or another --schedule_dir",
                )

    def log(self, job: Job) -> pathlib.Path:
        """Where a job's output goes."""
        return self.folder / "logs" / f"{job.name}.log"

    def ready(self, done: set[str], started: set[str]) -> Iterator[Job]:
        """Jobs that can be started: not started yet, and all that they wait for is done."""
        for job in self.jobs.values():
            if job.name not in started and job.name not in done and done.issuperset(job.after):
                yield job

    def describe(self, *, processes: int, speed: float) -> str:
        """How many jobs are done of each run and in all, and about how much disk and time the rest takes.

        `speed`: how much faster so many processes are than one.
        """
        left = [job for job in self.jobs.values() if not self.is_done(job)]
        seconds, disk = sum(job.seconds for job in left) / speed, sum(job.disk for job in left)
        return "\n".join(
            [
                *(f"  {name:<40}{done:>3} of {count} jobs done" for name, (done, count) in self._runs().items()),
                f"{len(self.jobs)} jobs, {len(self.jobs) - len(left)} done; records and logs in {self.folder}",
                f"disk for checkpoints of the rest: {room(disk, self.folder)}",
                f"estimated time for the rest: {duration(seconds)}, {processes} at a time",
            ]
        )

    def metrics(self) -> dict[str, pathlib.Path]:
        """The metrics.json of each job that is done and makes one, by the job's name."""
        done = [job for job in self.jobs.values() if self.is_done(job)]
        return {job.name: job.makes for job in done if job.makes is not None and job.makes.name == METRICS}

    def _runs(self) -> dict[str, tuple[int, int]]:
        """Jobs done and in all, by run: folds and records of one run go together."""
        found: dict[str, tuple[int, int]] = {}
        for job in self.jobs.values():
            run = job.name.partition("/fold_")[0]
            done, count = found.get(run, (0, 0))
            found[run] = (done + self.is_done(job), count + 1)
        return found

    def seconds_recorded(self) -> float:
        """Time that all finished jobs took together."""
        return sum(record["seconds"] for job in self.jobs.values() if (record := self._of_done(job)) is not None)

    def _of_done(self, job: Job) -> dict[str, Any] | None:
        """A job's record; None for one that is not done."""
        record = self._found(job)
        if record is None or not self._is_of(record, job) or (job.makes is not None and not job.makes.exists()):
            return None
        before = [self._of_done(self.jobs[name]) for name in job.after]
        return record if all(one is not None and one["finished"] <= record["finished"] for one in before) else None

    def _found(self, job: Job) -> dict[str, Any] | None:
        """A job's record; None where there is none or it is damaged."""
        try:
            record = read_json(self._file(job))
            return record if {"command", "settings", "seconds", "finished"} <= set(record) else None
        except (OSError, ValueError, TypeError):
            return None

    @staticmethod
    def _is_of(record: Mapping[str, Any], job: Job) -> bool:
        return record["settings"] == job.settings

    def _file(self, job: Job) -> pathlib.Path:
        return self.folder / "jobs" / f"{job.name}.json"
