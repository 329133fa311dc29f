"""Checkpoints that are whole or not there: written beside and renamed, checked before they are read."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator

import tensorflow as tf
from absl import logging

from fedsim_tf.errors import InputError, RunStopped
from fedsim_tf.files import digest_file, read_json, sync_to_disk, write_json
from fedsim_tf.training.protocols import Trackables
from fedsim_tf.training.run import CHECKPOINTS_KEPT

PARTIAL = ".partial-"  # begins the name of a folder that is being written, or was when its process ended
ASIDE = "aside-"  # begins the name of a state that a begin at an earlier step has put aside
PREFIX, CHECKSUMS = "state", "sha256.json"
_PATTERN_CHARACTERS = frozenset("*?[\\")


class Checkpoints:
    """The last two checkpoints of a stage, each a folder `step-<n>` with TensorFlow's files and their SHA-256.

    A begin at an earlier step puts the later state aside. It is kept until a state of its step or later is written.

    A checkpoint is written into a hidden folder, forced to the disk and then renamed, and only then is an older one
    removed. A process that is killed leaves the two earlier ones, or the new one and one or two of the earlier.

    Args:
      folder: where they are; made with the first.
      objects: what they hold, by name.
    """

    def __init__(self, folder: pathlib.Path, objects: Trackables):
        self._folder = folder
        self._state = tf.train.Checkpoint(**objects)

    def save(self, step: int) -> None:
        """Write the checkpoint of a step and remove all but the last two.

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
            write_json(partial / CHECKSUMS, {file.name: digest_file(file) for file in written})
            for path in [*partial.iterdir(), partial]:
                sync_to_disk(path)
            target = _checkpoint(self._folder, step)
            shutil.rmtree(target, ignore_errors=True)  # a damaged one of the same step
            partial.rename(target)
            sync_to_disk(self._folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        overtaken = [state for state in _find_aside(self._folder) if _step(state) <= step]
        for old in [*_find(self._folder)[CHECKPOINTS_KEPT:], *overtaken]:
            shutil.rmtree(old)

    def list_steps(self) -> list[int]:
        """Return the steps of the checkpoints that are kept, the last one first."""
        return list(map(_step, _find(self._folder)))

    def restore(self, *, at: int | None = None) -> int:
        """Restore the last whole checkpoint and return its step, 0 where there is none yet.

        A damaged checkpoint is passed over with a warning that names its file. One after step `at` is put aside: it
        would be taken for newer than those that follow from `at`. It serves again where a later `at` has reached it.

        Raises:
          InputError: all are damaged, or the checkpoint is of other networks; or more than one is after step `at`,
            which is not what a process leaves that was killed between the others' states.
        """
        if at is not None:
            self._put_aside_after(at)
        found = _find(self._folder)
        for checkpoint in found:
            damage = _describe_damage(checkpoint)
            if not damage:
                with _read_state(self._state, checkpoint) as status:
                    status.assert_consumed()
                return _step(checkpoint)
            logging.warning("%s; the checkpoint before it is used", damage)
        if found:
            raise InputError(
                self._folder,
                found="only damaged checkpoints",
                expected="a whole one; without this folder the stage begins anew",
            )
        return 0

    def _put_aside_after(self, at: int) -> None:
        found, aside = _find(self._folder), _find_aside(self._folder)
        later = [checkpoint for checkpoint in found if _step(checkpoint) > at]
        # Where nothing would be left to go on from, an aside one counts too: none is lost by beginning lower and lower.
        counted = later if len(later) < len(found) else later + aside
        if len(counted) > 1:
            steps = ", ".join(map(str, sorted(map(_step, counted))))
            raise InputError(
                self._folder,
                found=f"the states of steps {steps}, while the server begins at {at}: it has lost its own",
                expected="another name of the run, or this folder moved away",
            )
        for checkpoint in aside:
            if _step(checkpoint) <= at:
                checkpoint.rename(_checkpoint(self._folder, _step(checkpoint)))
        for checkpoint in later:
            if all(_step(other) < _step(checkpoint) for other in _find_aside(self._folder)):
                for other in _find_aside(self._folder):
                    shutil.rmtree(other)
                checkpoint.rename(checkpoint.with_name(f"{ASIDE}{checkpoint.name}"))
            else:
                shutil.rmtree(checkpoint)  # the one put aside has learnt more


def restore_from(folder: pathlib.Path, step: int, objects: Trackables) -> None:
    """Restore objects from the checkpoint of a step; what else it holds is not read.

    Raises:
      InputError: it is missing, damaged, or does not hold these objects.
    """
    checkpoint = _checkpoint(folder, step)
    if not checkpoint.is_dir():
        raise InputError(folder, found=f"no checkpoint of step {step}", expected="that of the finished stage")
    damage = _describe_damage(checkpoint)
    if damage:
        raise InputError(
            damage,
            found="damage",
            expected="a whole one; the run's command makes it anew once the fold's scores.json is moved away",
        )
    with _read_state(tf.train.Checkpoint(**objects), checkpoint) as status:
        status.assert_existing_objects_matched().expect_partial()


@contextlib.contextmanager
def _read_state(state: tf.train.Checkpoint, checkpoint: pathlib.Path) -> Iterator[tf.train.CheckpointLoadStatus]:
    """Read a checkpoint and give TensorFlow's status, to be asked within the context what did not fit."""
    try:
        with plain_path(checkpoint) as folder:
            yield state.read(f"{folder}/{PREFIX}")
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        raise InputError(
            checkpoint, found=f"the state of other networks ({_first_line(error)})", expected="this version's"
        ) from error


@contextlib.contextmanager
def plain_path(folder: pathlib.Path) -> Iterator[str]:
    """Give a path to a folder, valid within the context, that TensorFlow does not take for a pattern.

    TensorFlow looks for a checkpoint's files by matching their path as a pattern, in which brackets and backslashes do
    not stand for themselves, and has no way to escape them. The system's own name of the opened folder has none.
    """
    if not _PATTERN_CHARACTERS & set(str(folder)):
        yield str(folder)
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


@contextlib.contextmanager
def stop_on_failed_write(stage: str, step: int) -> Iterator[None]:
    """Turn what a full or broken disk raises within the context into one message.

    Raises:
      RunStopped: something could not be written; the stage resumes from its last checkpoint.
    """
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        raise RunStopped(
            f"{stage}, step {step}: cannot write the run's state ({_first_line(error)}); the last checkpoint is kept, "
            "the same command again resumes from it"
        ) from error


def _find(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the checkpoints of a folder, the last step first."""
    return sorted(folder.glob("step-*"), key=_step, reverse=True)


def _checkpoint(folder: pathlib.Path, step: int) -> pathlib.Path:
    return folder / f"step-{step}"


def _find_aside(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.glob(f"{ASIDE}step-*"), key=_step, reverse=True)


def _step(checkpoint: pathlib.Path) -> int:
    return int(checkpoint.name.removeprefix(ASIDE).removeprefix("step-"))


def _describe_damage(checkpoint: pathlib.Path) -> str:
    """Return what is wrong with a checkpoint's files, "" where nothing is."""
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
        if digest_file(file) != digest:
            return f"{file} is damaged: not as {CHECKSUMS} says"
    return ""


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
