"""The loop that every stage runs in: steps, checkpoints, losses, progress; stopped at any moment and resumed."""

from __future__ import annotations

import csv
import hashlib
import math
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from fedsim_tf.errors import InputError
from fedsim_tf.files import replaced
from fedsim_tf.progress import progress_bar
from fedsim_tf.training.checkpoints import Checkpoints, Trackables, kept_on_failure, restore_from
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.watch import Board, Look, Watched

Losses = Mapping[str, Any]  # name to a scalar tensor or float


def step_rng(seed: int, stage: str, step: int, *, secret: str = "") -> np.random.Generator:
    """The random choices of one step, a function of seed, stage and step alone: a resumed run repeats them exactly.

    With a secret nobody can repeat them who does not know it.
    """
    word = int.from_bytes(hashlib.sha256(stage.encode()).digest()[:4], "big")
    hidden = [int.from_bytes(hashlib.sha256(secret.encode()).digest(), "big")] if secret else []
    return np.random.default_rng([seed, word, step, *hidden])


class OpenStage:
    """A stage under way: what it keeps of its steps in a run's folder, whoever calls for the steps.

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
        self._mark = time.monotonic()

    def add(self, step: int, values: Losses) -> dict[str, float]:
        """One more step and its losses, as numbers.

        Raises:
          FloatingPointError: a loss or gradient that is not finite.
        """
        losses = {key: float(value) for key, value in values.items()}
        norms = {key: float(value) for key, value in self._watched.gradient_norms.items()} if self._watched else {}
        check_finite(losses, self.name, step)
        check_finite(norms, self.name, step, what="gradient of")
        self._table.add(step, losses)
        self._board.add(step, {**losses, **{f"gradient_norm/{key}": value for key, value in norms.items()}})
        self.done = step + 1
        return losses

    def save(self) -> None:
        """Writes a checkpoint, and what belongs to the steps before it.

        Raises:
          RunStopped: the state could not be written, such as to a full disk.
        """
        look = self._watched.look() if self._watched else Look()
        now = time.monotonic()
        self._seconds.assign_add(now - self._mark)
        self._mark = now
        with kept_on_failure(self.name, self.done):
            self._table.write()
            self._board.write(self.done, look)
            self._checkpoints.save(self.done)

    def finish(self) -> dict[str, Any]:
        """Marks the stage as done for good; returns its record, see `run_stage`."""
        record = {"steps": self.done, "seconds": round(float(self._seconds), 1), "losses": self._table.summary()}
        with kept_on_failure(self.name, self.done):
            self._run.finish(self.name, record)
        return record


def run_stage(
    run: RunFolder,
    name: str,
    *,
    steps: int,
    step: Callable[[int], Losses],
    objects: Trackables,
    watched: Watched | None = None,
    is_done: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Runs a stage to its end, from its last checkpoint if there is one; a finished stage is only restored.

    Args:
      run, name, objects, watched: see `OpenStage`.
      steps: how many.
      step: does step i and returns its losses.
      is_done: whether to stop before the last step; a function of `objects`, so that a resumed run stops there too.

    Returns:
      The stage's record: steps done, seconds, and for each loss its mean over the first and last tenth.

    Raises:
      InputError: every checkpoint of the stage is damaged.
      FloatingPointError: a loss or gradient that is not finite.
      RunStopped: the state could not be written, such as to a full disk.
    """
    stage = OpenStage(run, name, objects=objects, watched=watched)
    record = run.finished(name)
    # Else the last checkpoint of a finished stage is damaged or gone: its end is done again.
    if record is not None and stage.done == record["steps"] and (stage.done >= steps or is_done()):
        logging.info("%s: finished before, restored", name)
        return record
    if stage.done:
        logging.info("%s: resumed at step %d of %d", name, stage.done, steps)
    with progress_bar(steps, name, done=stage.done, unit="step") as bar:
        while stage.done < steps and not is_done():
            losses = stage.add(stage.done, step(stage.done))
            bar.set_postfix({key: f"{value:.3g}" for key, value in losses.items()}, refresh=False)
            bar.update()
            if stage.done % run.config.checkpoint_every == 0 or stage.done == steps or is_done():
                stage.save()
    if stage.done < steps:
        logging.info("%s: stopped at step %d of %d", name, stage.done, steps)
    return stage.finish()


def check_finite(values: Mapping[str, float], stage: str, step: int, *, what: str = "loss") -> None:
    """Stops the run at the first value that is not a number; the last checkpoint stays."""
    bad = [key for key, value in values.items() if not math.isfinite(value)]
    if bad:
        raise FloatingPointError(
            f"{stage}, step {step}: {what} {bad[0]} is {values[bad[0]]}; the last checkpoint is kept"
        )


def restore_stage(run: RunFolder, stage: str, **objects: tf.__internal__.tracking.Trackable) -> None:
    """Restores objects from the last checkpoint of a finished stage, leaving the rest of it alone.

    Raises:
      InputError: the stage is not finished, or that checkpoint is missing or damaged.
    """
    record = run.finished(stage)
    if record is None:
        raise InputError(run.path, found=f"no finished stage {stage}", expected="a run that has finished it")
    restore_from(run.checkpoints(stage), record["steps"], objects)


class LossTable:
    """Losses of every step as a CSV (step, loss, value); rows after the resumed checkpoint are dropped."""

    def __init__(self, path: pathlib.Path, *, resume_at: int):
        self._path = path
        self._rows: list[tuple[int, str, float]] = [row for row in read_losses(path) if row[0] < resume_at]

    def add(self, step: int, losses: Mapping[str, float]) -> None:
        self._rows += [(step, key, value) for key, value in losses.items()]

    def write(self) -> None:
        """Writes the CSV whole."""
        with replaced(self._path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("step", "loss", "value"), *self._rows])

    def summary(self) -> dict[str, dict[str, Any]]:
        """For each loss its mean over the first and the last tenth of its steps, and whether it went down."""
        summary = {}
        for key in dict.fromkeys(row[1] for row in self._rows):
            values = [value for _, name, value in self._rows if name == key]
            tenth = max(1, len(values) // 10)
            first, last = float(np.mean(values[:tenth])), float(np.mean(values[-tenth:]))
            summary[key] = {"first": first, "last": last, "down": last < first}
        return summary


def read_losses(path: pathlib.Path) -> list[tuple[int, str, float]]:
    """The rows of a loss table; none where there is no file.

    Raises:
      InputError: a file that is no such table.
    """
    if not path.exists():
        return []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [(int(step), key, float(value)) for step, key, value in list(csv.reader(file))[1:]]
    except ValueError as error:
        raise InputError(path, found=f"no table of losses ({error})", expected="step,loss,value") from error
