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

from fedsim_tf.files import replaced
from fedsim_tf.progress import progress_bar
from fedsim_tf.training.run import RunFolder

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
    objects: Mapping[str, tf.__internal__.tracking.Trackable],
    look: Callable[[int, tf.summary.SummaryWriter], None] | None = None,
) -> dict[str, Any]:
    """Runs a stage to its end, from its last checkpoint if there is one; a finished stage is only restored.

    Args:
      run: the run's folder.
      name: the stage's name, unique within the run.
      steps: how many.
      step: does step i and returns its losses.
      objects: everything that the stage changes; saved in each checkpoint.
      look: called at each checkpoint to write pictures for TensorBoard.

    Returns:
      The stage's record: steps, seconds, and for each loss its mean over the first and last tenth.
    """
    counter = tf.Variable(0, dtype=tf.int64, trainable=False)
    seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False)
    checkpoint = tf.train.Checkpoint(step=counter, seconds=seconds, **objects)
    manager = tf.train.CheckpointManager(checkpoint, str(run.checkpoints(name)), max_to_keep=2)
    if manager.latest_checkpoint:
        checkpoint.restore(manager.latest_checkpoint).assert_consumed()
    record = run.finished(name)
    if record is not None:
        logging.info("%s: finished before, restored", name)
        return record
    table = LossTable(run.losses(name), resume_at=int(counter))
    writer = tf.summary.create_file_writer(str(run.tensorboard(name)))
    if int(counter):
        logging.info("%s: resumed at step %d of %d", name, int(counter), steps)
    with progress_bar(steps, name, done=int(counter)) as bar:
        mark = time.monotonic()
        for index in range(int(counter), steps):
            losses = {key: float(value) for key, value in step(index).items()}
            check_finite(losses, name, index)
            table.add(index, losses)
            bar.set_postfix({key: f"{value:.3g}" for key, value in losses.items()}, refresh=False)
            bar.update()
            if (index + 1) % run.config.checkpoint_every == 0 or index + 1 == steps:
                now = time.monotonic()
                counter.assign(index + 1)
                seconds.assign_add(now - mark)
                mark = now
                table.write(writer)
                if look is not None:
                    look(index + 1, writer)
                manager.save()
    record = {"steps": steps, "seconds": round(float(seconds), 1), "losses": table.summary()}
    run.finish(name, record)
    return record


def check_finite(losses: Mapping[str, float], stage: str, step: int) -> None:
    """Stops the run at the first loss that is not a number; the last checkpoint stays."""
    bad = [key for key, value in losses.items() if not math.isfinite(value)]
    if bad:
        raise FloatingPointError(
            f"{stage}, step {step}: loss {bad[0]} is {losses[bad[0]]}; the last checkpoint is kept"
        )


def restore(run: RunFolder, stage: str, **objects: tf.__internal__.tracking.Trackable) -> None:
    """Restores objects from the last checkpoint of a finished stage, leaving the rest of it alone."""
    latest = tf.train.latest_checkpoint(str(run.checkpoints(stage)))
    tf.train.Checkpoint(**objects).restore(latest).assert_existing_objects_matched().expect_partial()


class LossTable:
    """Losses of every step as a CSV (step, loss, value); rows after the resumed checkpoint are dropped."""

    def __init__(self, path: pathlib.Path, *, resume_at: int):
        self._path = path
        self._rows: list[tuple[int, str, float]] = [row for row in read_losses(path) if row[0] < resume_at]
        self._written = len(self._rows)

    def add(self, step: int, losses: Mapping[str, float]) -> None:
        self._rows += [(step, key, value) for key, value in losses.items()]

    def write(self, writer: tf.summary.SummaryWriter) -> None:
        """Writes the CSV whole, and what is new to TensorBoard."""
        with writer.as_default():
            for step, key, value in self._rows[self._written :]:
                tf.summary.scalar(key, value, step=step)
        writer.flush()
        self._written = len(self._rows)
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
    """The rows of a loss table; none where there is no file."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [(int(step), key, float(value)) for step, key, value in list(csv.reader(file))[1:]]
