"""A plan: jobs, what each waits for, and the records of those that are done."""

from __future__ import annotations

import datetime
import graphlib
import pathlib
import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fedsim_tf.errors import InputError
from fedsim_tf.files import read_json, write_json
from fedsim_tf.progress import duration, room
from fedsim_tf.records.versioned import parse
from fedsim_tf.training.run import METRICS


class Job(NamedTuple):
    """One command of this project.

    Attributes:
      name: such as "single_site/ct20-4/fold_0".
      command: the module and its flags, such as ("experiments.single_site", "--dataset=ct20").
      seconds: about how long it takes on two cores.
      after: names of the jobs that have to be done before.
      makes: the file that shows that it is done; None where only its record does.
      settings: a digest of everything that decides what the job does. It is compared instead of the command, which says
        nothing of a preset's values and changes with the spelling of a folder's path.
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
        """The command as it is typed."""
        return shlex.join(("python", "-m", *self.command))


class JobRecord(NamedTuple):
    """What is kept of a job that has ended well.

    Attributes:
      command, settings: see `Job`.
      seconds: how long it took.
      finished: when, in ISO 8601 and UTC.
    """

    command: tuple[str, ...]
    settings: str
    seconds: float
    finished: str


class Plan:
    """Jobs and the records of those that are done.

    Args:
      jobs: in the order in which they are started, as far as what they wait for allows.
      folder: the plan's own; records are kept in `jobs/` and logs in `logs/`.

    Raises:
      InputError: two jobs of one name, a job that waits for one that is not there, or jobs that wait for each other.
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
        """Return whether this very job has ended well, after the jobs that it waits for, and what it made is there."""
        return self._record_if_done(job) is not None

    def record(self, job: Job, seconds: float) -> None:
        """Note that a job has ended well, and how long it took."""
        finished = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        write_json(self._file(job), JobRecord(job.command, job.settings, round(seconds, 1), finished)._asdict())

    def check_unchanged(self) -> None:
        """Refuse a plan whose folder has results of another plan, which its jobs could not go on with.

        Raises:
          InputError: names the first job that was done with other settings.
        """
        for job in self.jobs.values():
            record = self._read_record(job)
            is_other = record is not None and record.settings != job.settings
            if is_other and job.makes is not None and job.makes.exists():
                raise InputError(
                    job.makes.parent,
                    found=f"{job.name} as other settings, or other code's preset or phantom cohort, made it",
                    expected="this plan's, or another folder for the schedule",
                )

    def log(self, job: Job) -> pathlib.Path:
        """Return the file that a job's output goes to."""
        return self.folder / "logs" / f"{job.name}.log"

    def ready(self, done: set[str], started: set[str]) -> Iterator[Job]:
        """Give the jobs that are not started yet and wait for nothing that is not done.

        Args:
          done, started: names of jobs.
        """
        for job in self.jobs.values():
            if job.name not in started and job.name not in done and done.issuperset(job.after):
                yield job

    def describe(self, *, processes: int, speed: float) -> str:
        """Return lines that say how many jobs of each run are done, and about how much disk and time the rest takes.

        Args:
          processes: how many run at a time.
          speed: how much faster so many processes are than one.
        """
        left = [job for job in self.jobs.values() if not self.is_done(job)]
        counts = self._count_by_run()
        width = max(40, *(2 + len(name) for name in counts))
        seconds, disk = sum(job.seconds for job in left) / speed, sum(job.disk for job in left)
        return "\n".join(
            [
                *(f"  {name:<{width}}{done:>3} of {count_jobs(count)} done" for name, (done, count) in counts.items()),
                f"{count_jobs(len(self.jobs))}, {len(self.jobs) - len(left)} done; records and logs in {self.folder}",
                f"disk for checkpoints of the rest: {room(disk, self.folder)}",
                f"estimated time for the rest: {duration(seconds)}, {processes} at a time",
            ]
        )

    def metrics(self) -> dict[str, pathlib.Path]:
        """Return the metrics.json of each job that is done and makes one, by the job's name."""
        done = [job for job in self.jobs.values() if self.is_done(job)]
        return {job.name: job.makes for job in done if job.makes is not None and job.makes.name == METRICS}

    def _count_by_run(self) -> dict[str, tuple[int, int]]:
        """Return the number of jobs done and of all jobs by run; the folds and the report of a run go together."""
        found: dict[str, tuple[int, int]] = {}
        for job in self.jobs.values():
            run = job.name.partition("/fold_")[0]
            done, count = found.get(run, (0, 0))
            found[run] = (done + self.is_done(job), count + 1)
        return found

    def seconds_recorded(self) -> float:
        """Return the time that all finished jobs took together."""
        records = map(self._record_if_done, self.jobs.values())
        return sum(record.seconds for record in records if record is not None)

    def _record_if_done(self, job: Job) -> JobRecord | None:
        """Return a job's record; None for a job that is not done."""
        record = self._read_record(job)
        if record is None or record.settings != job.settings or (job.makes is not None and not job.makes.exists()):
            return None
        before = [self._record_if_done(self.jobs[name]) for name in job.after]
        return record if all(one is not None and one.finished <= record.finished for one in before) else None

    def _read_record(self, job: Job) -> JobRecord | None:
        """Return a job's record; None where there is none or it is damaged: the job is then done again."""
        try:
            return parse(read_json(self._file(job)), JobRecord, subject=self._file(job), expected="a job's record")
        except (OSError, InputError):
            return None

    def _file(self, job: Job) -> pathlib.Path:
        return self.folder / "jobs" / f"{job.name}.json"


def count_jobs(number: int) -> str:
    """Return a number of jobs in words, such as "1 job" or "57 jobs"."""
    return f"{number} job" if number == 1 else f"{number} jobs"
