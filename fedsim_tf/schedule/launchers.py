"""Launchers, which start jobs: as processes here, or in a cluster's queue through submitit."""

from __future__ import annotations

import contextlib
import importlib
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Protocol, TextIO

from fedsim_tf.errors import InputError, RunStopped
from fedsim_tf.files import lock_file
from fedsim_tf.schedule.plan import Job

_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


def _lock_plan(folder: pathlib.Path) -> TextIO:
    """Return the lock of a plan's folder, held as long as the file is open.

    Raises:
      RunStopped: another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_file(folder / "lock")
    if lock is None:
        raise RunStopped(f"{folder}: another process works on this plan, or a job that it started still runs")
    return lock


class Running(Protocol):
    """A job that has been started."""

    def poll(self) -> int | None:
        """Return the exit status; None while the job runs."""

    def stop(self) -> None:
        """End the job; what it has saved stays."""


class Launcher(Protocol):
    """Something that starts jobs."""

    def start(self, job: Job, log: pathlib.Path) -> Running:
        """Start a job whose output goes to the file `log`."""


def estimate_local_speed(processes: int, *, cores_used: int) -> float:
    """Return how much faster several processes on this machine are than one, where each can use so many cores."""
    return float(max(1, min(processes, (os.cpu_count() or 1) // cores_used)))


class LocalProcesses:
    """A launcher that starts each job as a process of this machine, in the current folder.

    Args:
      folder: the plan's own. It is locked by this process and by the jobs, which outlive a launcher that was killed.
      processes: how many will run at a time. They share the machine's cores: more threads than cores would wait for
        one another.

    Raises:
      RunStopped: the folder is locked.
    """

    def __init__(self, folder: pathlib.Path, *, processes: int = 1):
        threads = str(max(1, (os.cpu_count() or 1) // processes))
        self._environment = {**os.environ, **(dict.fromkeys(_THREADS, threads) if processes > 1 else {})}
        self._lock = _lock_plan(folder)

    def start(self, job: Job, log: pathlib.Path) -> Running:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a", encoding="utf-8") as output:
            output.write(f"$ {job.line}\n")
            output.flush()
            command = [sys.executable, "-m", *job.command]
            started = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                pass_fds=(self._lock.fileno(),),
            )
        return _Process(started)


class _Process:
    def __init__(self, process: subprocess.Popen):
        self._process = process

    def poll(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Submitit:
    """A launcher that puts each job into a cluster's queue (SLURM), or lets submitit start it on this machine.

    Args:
      folder: the plan's own; submitit's files go to `submitit/` in it, which all machines have to see. It is locked by
        this process alone: jobs in a queue outlive a launcher that was killed, and lock the folders that they work in.
      cluster: "slurm" or "local".
      **parameters: what `submitit.AutoExecutor.update_parameters` takes, such as `slurm_partition` or `timeout_min`.

    Raises:
      InputError: submitit is not installed, or does not know a parameter.
      RunStopped: the folder is locked.
    """

    def __init__(self, folder: pathlib.Path, *, cluster: str, **parameters: Any):
        try:
            self._submitit = importlib.import_module("submitit")
        except ImportError:
            raise InputError("launcher", found="no submitit", expected="pip install 'fedsim-tf[cluster]'") from None
        self._lock = _lock_plan(folder)
        try:
            self._executor = self._submitit.AutoExecutor(folder=folder / "submitit" / "%j", cluster=cluster)
        except RuntimeError as error:
            raise InputError("launcher", found=str(error), expected=f"a machine that has {cluster}") from None
        try:
            self._executor.update_parameters(**parameters)
        except (NameError, AssertionError) as error:
            raise InputError("cluster", found=str(error), expected="parameters of submitit's AutoExecutor") from None

    def start(self, job: Job, log: pathlib.Path) -> Running:
        log.parent.mkdir(parents=True, exist_ok=True)
        call = _LoggedCommand(job.line, (sys.executable, "-m", *job.command), os.getcwd(), str(log))
        with _interruptible():
            return _Submitted(self._executor.submit(call), log)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let processes that are started within be stopped by SIGINT, with which submitit stops those of this machine.

    A shell starts a command in the background with SIGINT ignored, and the command's children inherit that.
    """
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


class _LoggedCommand:
    """A function without arguments that runs a command in a folder, its output in a file, and returns the status."""

    def __init__(self, line: str, command: tuple[str, ...], folder: str, log: str):
        self._line, self._command, self._folder, self._log = line, command, folder, log

    def __call__(self) -> int:
        with open(self._log, "a", encoding="utf-8") as output:
            output.write(f"$ {self._line}\n")
            output.flush()
            return subprocess.run(
                self._command, cwd=self._folder, stdout=output, stderr=subprocess.STDOUT, check=False
            ).returncode


class _Submitted:
    def __init__(self, job: Any, log: pathlib.Path):
        self._job, self._log = job, log

    def poll(self) -> int | None:
        if not self._job.done():
            return None
        error = self._job.exception()  # the queue's: the job was killed, or out of time or memory
        if error is None:
            return int(self._job.result())
        with open(self._log, "a", encoding="utf-8") as output:
            output.write(f"{error}\n")
        return 1

    def stop(self) -> None:
        with contextlib.suppress(OSError, subprocess.SubprocessError):  # scancel itself may fail
            self._job.cancel()
