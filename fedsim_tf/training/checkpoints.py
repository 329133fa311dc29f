"""Checkpoints that are whole or not there: written beside and renamed, checked before they are read."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
from collections.abc import Iterator, Mapping

import tensorflow as tf
from absl import logging

from fedsim_tf.errors import InputError, RunStopped
from fedsim_tf.files import file_digest, read_json, to_disk, write_json
from fedsim_tf.training.run import CHECKPOINTS_KEPT

PARTIAL = ".partial-"  # a folder of this name was not finished when its process ended
PREFIX, CHECKSUMS = "state", "sha256.json"

Trackables = Mapping[str, tf.__internal__.tracking.Trackable]


class Checkpoints:
    """The last two checkpoints of a stage, each a folder `step-<n>` with TensorFlow's files and their SHA-256.

    A checkpoint is written into a hidden folder, forced to the disk and then renamed, and only then is an older one
    removed: a process that is killed leaves the two of before, or the new one and one or two of before.

    Args:
      folder: where they are; made with the first.
      objects: what they hold, by name.
    """

    def __init__(self, folder: pathlib.Path, objects: Trackables):
        self._folder = folder
        self._state = tf.train.Checkpoint(**objects)

    def save(self, step: int) -> None:
        """Writes the checkpoint of a step and removes all but the last two.

        Raises:
          OSError, tf.errors.OpError: it could not be written, such as to a full disk; the earlier ones are untouched.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.glob(f"{PARTIAL}*"):
            shutil.rmtree(left)
        partial = self._folder / f"{PARTIAL}{step}"
        partial.mkdir()
        try:
            self._state.write(str(partial / PREFIX))
            written = sorted(partial.glob(f"{PREFIX}.*"))
            write_json(partial / CHECKSUMS, {file.name: file_digest(file) for file in written})
            for path in [*partial.iterdir(), partial]:
                to_disk(path)
            target = _checkpoint(self._folder, step)
            shutil.rmtree(target, ignore_errors=True)  # a damaged one of the same step
            partial.rename(target)
            to_disk(self._folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        for old in _found(self._folder)[CHECKPOINTS_KEPT:]:
            shutil.rmtree(old)

    def restore(self, *, at: int | None = None) -> int:
        """Restores the last whole checkpoint; returns its step, 0 where there is none yet.

        A damaged checkpoint is passed over with a warning that names its file. One after step `at` is removed: what
        goes on from there would be taken for older than it is.

        Raises:
          InputError: all are damaged, or the checkpoint is of other networks; more than one is after step `at`, which
            is not what a process leaves that was killed between two others' states.
        """
        found = _found(self._folder)
        later = [checkpoint for checkpoint in found if at is not None and _step(checkpoint) > at]
        if len(later) > 1:
            steps = ", ".join(str(_step(checkpoint)) for checkpoint in reversed(later))
            raise InputError(
                self._folder,
                found=f"the states of steps {steps}, while the server begins at {at}: it has lost its own",
                expected="another name of the run, or this folder moved away",
            )
        for checkpoint in later:
            shutil.rmtree(checkpoint)
            found.remove(checkpoint)
        for checkpoint in found:
            damage = _damage(checkpoint)
            if not damage:
                self._read(checkpoint)
                return _step(checkpoint)
            logging.warning("%s; the checkpoint before it is used", damage)
        if found:
            raise InputError(
                self._folder,
                found="only damaged checkpoints",
                expected="a whole one; without this folder the stage begins anew",
            )
        return 0

    def _read(self, checkpoint: pathlib.Path) -> None:
        with _other_networks(checkpoint):
            self._state.read(str(checkpoint / PREFIX)).assert_consumed()


def restore_from(folder: pathlib.Path, step: int, objects: Trackables) -> None:
    """Restores some of what the checkpoint of a step holds, and leaves the rest of it alone.

    Raises:
      InputError: it is missing, damaged, or does not hold these objects.
    """
    checkpoint = _checkpoint(folder, step)
    if not checkpoint.is_dir():
        raise InputError(folder, found=f"no checkpoint of step {step}", expected="that of the finished stage")
    damage = _damage(checkpoint)
    if damage:
        raise InputError(
            damage,
            found="damage",
            expected="a whole one; the run's command makes it anew once the fold's scores.json is moved away",
        )
    with _other_networks(checkpoint):
        status = tf.train.Checkpoint(**objects).read(str(checkpoint / PREFIX))
        status.assert_existing_objects_matched().expect_partial()


@contextlib.contextmanager
def _other_networks(checkpoint: pathlib.Path) -> Iterator[None]:
    """What TensorFlow says of a checkpoint that does not fit, as this project does."""
    try:
        yield
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        raise InputError(
            checkpoint, found=f"the state of other networks ({_first_line(error)})", expected="this version's"
        ) from error


@contextlib.contextmanager
def kept_on_failure(stage: str, step: int) -> Iterator[None]:
    """Turns what a full or broken disk raises within the block into one message; a stage resumes from its last state.

    Raises:
      RunStopped: anything in the block could not be written.
    """
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        raise RunStopped(
            f"{stage}, step {step}: cannot write the run's state ({_first_line(error)}); the last checkpoint is kept, "
            "the same command again resumes from it"
        ) from error


def _found(folder: pathlib.Path) -> list[pathlib.Path]:
    """Checkpoints, the last step first."""
    return sorted(folder.glob("step-*"), key=_step, reverse=True)


def _checkpoint(folder: pathlib.Path, step: int) -> pathlib.Path:
    return folder / f"step-{step}"


def _step(checkpoint: pathlib.Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def _damage(checkpoint: pathlib.Path) -> str:
    """What is wrong with a checkpoint's files, "" where nothing is."""
    listed = checkpoint / CHECKSUMS
    try:
        checksums = read_json(listed)
        wanted = {checkpoint / name: digest for name, digest in checksums.items()}
    except (OSError, ValueError, AttributeError):
        return f"{listed} is missing or damaged"
    if not {f"{PREFIX}.index"} <= set(checksums):
        return f"{listed} is damaged"
    for file, digest in wanted.items():
        if not file.is_file():
            return f"{file} is missing"
        if file_digest(file) != digest:
            return f"{file} is damaged: not as {CHECKSUMS} says"
    return ""


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
