"""The loop that runs every stage: steps, checkpoints, losses, progress; it may be stopped at any moment and resumed."""

from __future__ import annotations

import csv
import math
import pathlib
import resource
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from fedsim_tf.errors import InputError
from fedsim_tf.files import write_atomically
from fedsim_tf.progress import progress_bar
from fedsim_tf.training.checkpoints import Checkpoints, restore_from, stop_on_failed_write
from fedsim_tf.training.protocols import Losses, Stage, Trackable, Trackables
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.watch import Board, Look, Watched

LONGEST_SECONDS = 600.0  # of work that is lost where a process ends
WARM_UP = 3  # steps, among which functions are traced; the last stage's have two kinds, in turn


class OpenStage:
    """A stage under way: the checkpoints, losses and pictures that a run's folder keeps of it.

    Args:
      run: the run's folder.
      name: the stage's name, unique within the run.
      objects: everything that the stage changes; saved in each checkpoint.
      watched: what TensorBoard shows beside the losses; its gradient norms are checked as the losses are.
      at: restores the checkpoint of this step, or the last one before it; None: the last one.

    Attributes:
      done: how many steps of the stage are done.

    Raises:
      InputError: every checkpoint of the stage is damaged.
    """

    def __init__(
        self, run: RunFolder, name: str, *, objects: Trackables, watched: Watched | None = None, at: int | None = None
    ):
        self._run, self.name, self._watched = run, name, watched
        self._seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self._checkpoints = Checkpoints(run.checkpoints(name), {"seconds": self._seconds, **objects})
        self.done = self._checkpoints.restore(at=at)
        self._table = LossTable(run.losses(name), resume_at=self.done)
        self._board = Board(run.tensorboard(name))
        self._opened = self._mark = time.monotonic()
        self._warm = self._last = 0.0  # when the last of this process's first steps had ended, and its last one
        self._added = 0  # steps of this process

    def add(self, step: int, values: Losses) -> dict[str, float]:
        """Count one more step and return its losses as numbers.

        Raises:
          FloatingPointError: a loss or gradient is not finite.
        """
        losses = {key: float(value) for key, value in values.items()}
        norms = {key: float(value) for key, value in self._watched.gradient_norms.items()} if self._watched else {}
        check_finite(losses, self.name, step)
        check_finite(norms, self.name, step, what="gradient of")
        self._table.add(step, losses)
        self._board.add(step, {**losses, **{f"gradient_norm/{key}": value for key, value in norms.items()}})
        self.done = step + 1
        self._added, self._last = self._added + 1, time.monotonic()
        if self._added == WARM_UP:
            self._warm = self._last
        return losses

    def save(self) -> None:
        """Write a checkpoint, and the losses and pictures of the steps before it.

        Raises:
          RunStopped: the state could not be written, such as to a full disk.
        """
        look = self._watched.look() if self._watched else Look()
        now = time.monotonic()
        self._seconds.assign_add(now - self._mark)
        self._mark = now
        with stop_on_failed_write(self.name, self.done):
            self._table.write()
            self._board.write(self.done, look)
            self._checkpoints.save(self.done)

    def is_due(self) -> bool:
        """Return whether it is time for a checkpoint: so many steps are done, or so long a time has passed."""
        return self.done % self._run.config.checkpoint_every == 0 or time.monotonic() - self._mark >= LONGEST_SECONDS

    @property
    def moved(self) -> int:
        """How many steps have made the present state; fewer than `done` where some were missed."""
        return self._table.count_steps()

    @property
    def kept(self) -> list[int]:
        """The steps of the checkpoints that are kept, the last one first."""
        return self._checkpoints.list_steps()

    def finish(self, **more: Any) -> dict[str, Any]:
        """Mark the stage as done for good and return its record; see `run_stage`. `more`: what else it says."""
        losses = self._table.summary()
        record = {"steps": self.done, "seconds": round(float(self._seconds), 1), "losses": losses}
        record |= {**self._measure(), **more}
        with stop_on_failed_write(self.name, self.done):
            self._run.finish(self.name, record)
        return record

    def _measure(self) -> dict[str, float]:
        """Return what this process has seen of the stage.

        The seconds of a step, checkpoints included, those that its start took beyond, and the process's largest memory
        until now.
        """
        timed = self._added - WARM_UP
        if timed < 1:
            return {}
        each, start = (self._last - self._warm) / timed, self._warm - self._opened
        return {
            "step_seconds": round(each, 5),
            "start_seconds": round(max(0.0, start - WARM_UP * each), 3),
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }


def run_stage(
    run: RunFolder, stage: Stage, *, steps: int, is_done: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """Run a stage to its end, from its last checkpoint if there is one; a finished stage is only restored.

    Args:
      run: the run's folder.
      stage: what is run; each step is given the generator that belongs to it.
      steps: how many.
      is_done: whether to stop before the last step; a function of the stage's objects, so that a resumed run stops
        there too.

    Returns:
      The stage's record: steps done, seconds, for each loss its mean over the first and last tenth, and after more than
      `WARM_UP` steps in this process the seconds of a step, those that its start took beyond, and peak memory in bytes.

    Raises:
      InputError: every checkpoint of the stage is damaged.
      FloatingPointError: a loss or gradient is not finite.
      RunStopped: the state could not be written, such as to a full disk.
    """
    name = stage.name
    opened = OpenStage(run, name, objects=stage.objects, watched=stage)
    record = run.finished(name)
    # A finished stage with fewer steps than its record says has lost its last checkpoint: its end is done again.
    if record is not None and opened.done == record["steps"] and (opened.done >= steps or is_done()):
        logging.info("%s: finished before, restored", name)
        return record
    if opened.done:
        logging.info("%s: resumed at step %d of %d", name, opened.done, steps)
    with progress_bar(steps, name, done=opened.done, unit="step") as bar:
        while opened.done < steps and not is_done():
            losses = opened.add(opened.done, stage.step(opened.done, stage.seeds.rng(opened.done)))
            bar.set_postfix({key: f"{value:.3g}" for key, value in losses.items()}, refresh=False)
            bar.update()
            if opened.is_due() or opened.done == steps or is_done():
                opened.save()
    if opened.done < steps:
        logging.info("%s: stopped at step %d of %d", name, opened.done, steps)
    return opened.finish()


def check_finite(values: Mapping[str, float], stage: str, step: int, *, what: str = "loss") -> None:
    """Stop the run at the first value that is not a finite number; the last checkpoint stays."""
    bad = [key for key, value in values.items() if not math.isfinite(value)]
    if bad:
        raise FloatingPointError(
            f"{stage}, step {step}: {what} {bad[0]} is {values[bad[0]]}; the last checkpoint is kept"
        )


def restore_stage(run: RunFolder, stage: str, **objects: Trackable) -> None:
    """Restore objects from the last checkpoint of a finished stage; what else it holds is not read.

    Raises:
      InputError: the stage is not finished, or that checkpoint is missing or damaged.
    """
    record = run.finished(stage)
    if record is None:
        raise InputError(run.path, found=f"no finished stage {stage}", expected="a run that has finished it")
    restore_from(run.checkpoints(stage), record["steps"], objects)


class LossTable:
    """The losses of every step as a CSV (step, loss, value); rows after the resumed checkpoint are dropped."""

    def __init__(self, path: pathlib.Path, *, resume_at: int):
        self._path = path
        self._rows: list[tuple[int, str, float]] = [row for row in read_losses(path) if row[0] < resume_at]

    def add(self, step: int, losses: Mapping[str, float]) -> None:
        """Add a row for each loss of a step."""
        self._rows += [(step, key, value) for key, value in losses.items()]

    def count_steps(self) -> int:
        """Return how many steps have rows."""
        return len({row[0] for row in self._rows})

    def write(self) -> None:
        """Write the whole CSV."""
        with write_atomically(self._path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("step", "loss", "value"), *self._rows])

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return for each loss its mean over the first and the last tenth of its steps, and whether it went down."""
        summary = {}
        for key in dict.fromkeys(row[1] for row in self._rows):
            values = [value for _, name, value in self._rows if name == key]
            tenth = max(1, len(values) // 10)
            first, last = float(np.mean(values[:tenth])), float(np.mean(values[-tenth:]))
            summary[key] = {"first": first, "last": last, "down": last < first}
        return summary


def read_losses(path: pathlib.Path) -> list[tuple[int, str, float]]:
    """Return the rows of a loss table, none where there is no file.

    Raises:
      InputError: the file is no such table.
    """
    if not path.exists():
        return []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [(int(step), key, float(value)) for step, key, value in list(csv.reader(file))[1:]]
    except ValueError as error:
        raise InputError(path, found=f"no table of losses ({error})", expected="step,loss,value") from error
