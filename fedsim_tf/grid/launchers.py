"""What runs a job: processes here, or a cluster's queue through submitit."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import pathlib
import subprocess
import sys
from typing import Any, Protocol, TextIO

from fedsim_tf.errors import InputError, RunStopped
from fedsim_tf.grid.plan import Job

_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


def _lock_plan(folder: pathlib.Path) -> TextIO:
    """The plan's lock, held as long as the file is open.

    Raises:
      RunStopped: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = _locked(folder / "lock")
    if lock is None:
        raise RunStopped(f"{folder}: another process works on this plan, or a job that it started still runs")
    return lock


def _locked(path: pathlib.Path) -> TextIO | None:
    """A file, made if need be, that this process and those that inherit it lock; None where another one does."""
    file = open(path, "w", encoding="utf-8")  # noqa: SIM115 (the caller keeps it)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


class Running(Protocol):
    """A job that was started."""

    def poll(self) -> int | None:
        """The exit status; None while it runs."""

    def stop(self) -> None:
        """Ends it; what it has saved stays."""


class Launcher(Protocol):
    """Starts jobs."""

    def start(self, job: Job, log: pathlib.Path) -> Running:
        """Starts a job whose output goes to a file."""


class LocalProcesses:
    """Each job a process of this machine, in the current folder.

    Args:
      folder: the plan's. It is locked, by the processes that run too: they outlive a launcher that was killed.
      processes: how many will run at a time; they share the machine's cores, as threads that wait for one another would
        cost more than they do.

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
    """Each job a job of a cluster's queue (SLURM), or a process as submitit starts one on this machine.

    Args:
      folder: the plan's; submitit's own files go to `submitit/` in it, which all machines have to see. It is locked by
        this process alone: each job has a lock of its own, as jobs in a queue outlive a launcher that was killed.
      cluster: "slurm" or "local".
      **parameters: of `submitit.AutoExecutor.update_parameters`, such as `slurm_partition` or `timeout_min`.

    Raises:
      InputError: submitit is not installed, or does not know a parameter.
      RunStopped: the folder is locked.
    """

    def __init__(self, folder: pathlib.Path, *, cluster: str, **parameters: Any):
        try:
            self._submitit = importlib.import_module("submitit")
        except ImportError:
            raise InputError("--launcher", found="no submitit", expected="pip install 'fedsim-tf[cluster]'") from None
        self._lock = _lock_plan(folder)
        self._executor = self._submitit.AutoExecutor(folder=folder / "submitit" / "%j", cluster=cluster)
        try:
            self._executor.update_parameters(**parameters)
        except NameError as error:
            raise InputError("--cluster", found=str(error), expected="parameters of submitit's AutoExecutor") from None

    def start(self, job: Job, log: pathlib.Path) -> Running:
        log.parent.mkdir(parents=True, exist_ok=True)
        call = _LoggedCommand(job.line, (sys.executable, "-m", *job.command), os.getcwd(), str(log))
        return _Submitted(self._executor.submit(call))


class _LoggedCommand:
    """Runs a command in a folder with its output in a file; returns the exit status.

    One that an earlier launcher has started, and that still runs, is left alone: that counts as a failure.
    """

    def __init__(self, line: str, command: tuple[str, ...], folder: str, log: str):
        self._line, self._command, self._folder, self._log = line, command, folder, log

    def __call__(self) -> int:
        with open(self._log, "a", encoding="utf-8") as output:
            lock = _locked(pathlib.Path(f"{self._log}.lock"))
            if lock is None:
                output.write("this job still runs: an earlier launcher has started it\n")
                return os.EX_TEMPFAIL
            with lock:
                output.write(f"$ {self._line}\n")
                output.flush()
                return subprocess.run(
                    self._command,
                    cwd=self._folder,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    check=False,
                    pass_fds=(lock.fileno(),),
                ).returncode


class _Submitted:
    def __init__(self, job: Any):
        self._job = job

    def poll(self) -> int | None:
        if not self._job.done():
            return None
        error = self._job.exception()  # of the queue: killed, out of time or memory
        return 1 if error is not None else int(self._job.result())

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._job.cancel()
