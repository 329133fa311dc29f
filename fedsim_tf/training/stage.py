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


def step_rng(seed: int, stage: str, step: int) -> np.random.Generator:
    """The random choices of one step, a function of seed, stage and step alone: a resumed run repeats them exactly."""
    word = int.from_bytes(hashlib.sha256(stage.encode()).digest()[:4], "big")
    return np.random.default_rng([seed, word, step])


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
      run: the run's folder.
      name: the stage's name, unique within the run.
      steps: how many.
      step: does step i and returns its losses.
      objects: everything that the stage changes; saved in each checkpoint.
      is_done: whether to stop before the last step; a function of `objects`, so that a resumed run stops there too.
      watched: what TensorBoard shows beside the losses; its gradient norms are checked as the losses are.

    Returns:
      The stage's record: steps done, seconds, and for each loss its mean over the first and last tenth.

    Raises:
      InputError: every checkpoint of the stage is damaged.
      FloatingPointError: a loss or gradient that is not finite.
      RunStopped: the state could not be written, such as to a full disk.
    """
    seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False)
    checkpoints = Checkpoints(run.checkpoints(name), {"seconds": seconds, **objects})
    start = checkpoints.restore()
    record = run.finished(name)
    # Else the last checkpoint of a finished stage is damaged or gone: its end is done again.
    if record is not None and start == record["steps"] and (start >= steps or is_done()):
        logging.info("%s: finished before, restored", name)
        return record
    table, board = LossTable(run.losses(name), resume_at=start), Board(run.tensorboard(name))
    if start:
        logging.info("%s: resumed at step %d of %d", name, start, steps)
    with progress_bar(steps, name, done=start, unit="step") as bar:
        mark, done = time.monotonic(), start
        while done < steps and not is_done():
            losses = {key: float(value) for key, value in step(done).items()}
            norms = {key: float(value) for key, value in watched.gradient_norms.items()} if watched else {}
            check_finite(losses, name, done)
            check_finite(norms, name, done, what="gradient of")
            table.add(done, losses)
            board.add(done, {**losses, **{f"gradient_norm/{key}": value for key, value in norms.items()}})
            bar.set_postfix({key: f"{value:.3g}" for key, value in losses.items()}, refresh=False)
            bar.update()
            done += 1
            if done % run.config.checkpoint_every == 0 or done == steps or is_done():
                look = watched.look() if watched else Look()
                now = time.monotonic()
                seconds.assign_add(now - mark)
                mark = now
                with kept_on_failure(name, done):
                    table.write()
                    board.write(done, look)
                    checkpoints.save(done)
    if done < steps:
        logging.info("%s: stopped at step %d of %d", name, done, steps)
    record = {"steps": done, "seconds": round(float(seconds), 1), "losses": table.summary()}
    with kept_on_failure(name, done):
        run.finish(name, record)
    return record


def check_finite(values: Mapping[str, float], stage: str, step: int, *, what: str = "loss") -> None:
    """Stops the run at the first value that is not a number; the last checkpoint stays."""
    bad = [key for key, value in values.items() if not math.isfinite(value)]
    if bad:
        raise FloatingPointError(
            f"{stage}, step {step}: {what} {bad[0]} is {values[bad[0]]}; the last checkpoint is kept"
        )


def restore(run: RunFolder, stage: str, **objects: tf.__internal__.tracking.Trackable) -> None:
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
