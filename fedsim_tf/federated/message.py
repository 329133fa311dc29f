"""Messages, which are what an engine carries: tasks and answers as named arrays, losses and words."""

from __future__ import annotations

import hashlib
import json
import math
import numbers
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.federated.task import Answer, Task
from fedsim_tf.federated.update import Arrays, SiteUpdate
from fedsim_tf.models.latents import LatentDistribution, LatentStatistics

LONGEST_WORD = 500  # characters
MOST_ARRAYS = 10_000
MOST_LOSSES = 64  # thousands of them could carry an image
_LOSS_NAME = re.compile(r"[A-Za-z0-9_/-]{1,80}")
WEIGHTS, GRADIENTS, LATENTS = "weights/", "gradients/", "latents/"
ENCRYPTED, ENCRYPTED_LATENTS = "encrypted/", "encrypted_latents/"
MEAN, COVARIANCE = f"{LATENTS}mean", f"{LATENTS}covariance"
SUM, SUM_OUTER = f"{LATENTS}sum", f"{LATENTS}sum_outer"


class Message(NamedTuple):
    """A task or an answer in the form that an engine carries.

    Attributes:
      words: "kind", "stage" and "round"; a task also has "with_unlabelled", an answer also has "count", "under_way" or
        "failure".
      arrays: arrays by name. Names begin with "weights/" in a task, with "gradients/" in an answer, and with "latents/"
        or "encrypted/" in either; those of a task also with "encrypted_latents/".
      losses: the losses of an answer, by name.
    """

    words: Mapping[str, Any]
    arrays: Arrays
    losses: Mapping[str, float]

    @property
    def bytes(self) -> int:
        """Return how many bytes the arrays have."""
        return sum(array.nbytes for array in self.arrays.values())

    @property
    def digest(self) -> str:
        """Return a digest that two messages share only where they are the same to the last bit."""
        kinds = {name: (array.shape, str(array.dtype)) for name, array in sorted(self.arrays.items())}
        text = json.dumps([dict(self.words), dict(self.losses), kinds], sort_keys=True, default=float)
        told = hashlib.sha256(text.encode())
        for name in kinds:
            told.update(np.ravel(self.arrays[name]).data)
        return told.hexdigest()


def check_form(message: Message) -> None:
    """Check that words and names are short and printable, as they go into logs and tables, and arrays are arrays.

    Raises:
      InputError: names what is wrong.
    """
    if "kind" not in message.words:
        raise InputError("message", found="no kind of task", expected="a message of this version")
    for name, value in message.words.items():
        short = isinstance(value, str | int) and len(str(value)) <= LONGEST_WORD and str(value).isprintable()
        if not isinstance(name, str) or not short:
            raise InputError(f"word {str(name)[:50]!r}", found=repr(value)[:50], expected="a short text or a number")
    if len(message.arrays) > MOST_ARRAYS:
        raise InputError("message", found=f"{len(message.arrays)} arrays", expected=f"at most {MOST_ARRAYS}")
    for name, array in message.arrays.items():
        if not (isinstance(name, str) and len(name) <= LONGEST_WORD and name.isprintable()):
            raise InputError("an array's name", found=repr(name)[:50], expected="a short text")
        if not isinstance(array, np.ndarray):
            raise InputError(f"array {name[:50]!r}", found=type(array).__name__, expected="an array")
    _check_names(message.losses, of="a message")


def check_losses(losses: Mapping[str, Any], *, of: str) -> None:
    """Check that losses are few, finite and have plain names.

    Args:
      losses: losses by name.
      of: the site whose losses they are, for the message.

    Raises:
      InputError: names what is wrong, and the site.
    """
    _check_names(losses, of=of)
    for name, value in losses.items():
        if not (isinstance(value, numbers.Real) and math.isfinite(value)):
            raise InputError(f"loss {name} of {of}", found=str(value)[:50], expected="a finite number")


def _check_names(losses: Mapping[str, Any], *, of: str) -> None:
    subject = f"losses of {of}"
    if not isinstance(losses, Mapping) or len(losses) > MOST_LOSSES:
        found = f"{len(losses)} losses" if isinstance(losses, Mapping) else type(losses).__name__
        raise InputError(subject, found=found, expected=f"at most {MOST_LOSSES} numbers by name")
    for name in losses:
        if not (isinstance(name, str) and _LOSS_NAME.fullmatch(name)):
            raise InputError(subject, found=f"the name {str(name)[:50]!r}", expected="plain names")


def task_to_message(task: Task) -> Message:
    """Return the message that every site gets for a task."""
    words = {"kind": task.kind, "stage": task.stage, "round": task.round, "with_unlabelled": task.with_unlabelled}
    arrays = _add_prefix(WEIGHTS, task.weights) | _add_prefix(ENCRYPTED, task.encrypted)
    arrays |= _add_prefix(ENCRYPTED_LATENTS, task.encrypted_latents)
    if task.distribution is not None:
        arrays |= {MEAN: task.distribution.mean, COVARIANCE: task.distribution.covariance}
    return Message(words, arrays, {})


def message_to_task(message: Message) -> Task:
    """Return the task that a message holds.

    Raises:
      InputError: the message holds no task.
    """
    words, arrays = message.words, message.arrays
    try:
        distribution = _make_distribution(arrays[MEAN], arrays[COVARIANCE]) if MEAN in arrays else None
        return Task(
            words["kind"],
            words["stage"],
            words["round"],
            weights=_remove_prefix(WEIGHTS, arrays),
            distribution=distribution,
            with_unlabelled=words["with_unlabelled"],
            encrypted=_remove_prefix(ENCRYPTED, arrays),
            encrypted_latents=_remove_prefix(ENCRYPTED_LATENTS, arrays),
        )
    except KeyError as error:
        raise InputError("task", found=f"no {error}", expected="a task from a server of this version") from None


def answer_to_message(task: Task, answer: Answer) -> Message:
    """Return the message that a site sends as its answer to a task.

    The message does not name the site: a site could give another name, and the engine knows who sent the message.
    """
    update = answer.update
    words = {"kind": task.kind, "stage": update.stage, "round": update.round, "count": update.count}
    arrays = _add_prefix(GRADIENTS, update.gradients) | _add_prefix(ENCRYPTED, update.encrypted)
    if update.latents is not None:
        arrays |= {SUM: update.latents.sum, SUM_OUTER: update.latents.sum_outer}
    return Message(words, arrays, answer.losses)


def report_failure(task: Task, reason: str) -> Message:
    """Return the message that a site sends when it cannot answer a task, with the reason."""
    return Message({"kind": task.kind, "stage": task.stage, "round": task.round, "failure": reason}, {}, {})


def report_under_way(task: Task) -> Message:
    """Return the message that a site sends while it still works on a task."""
    return Message({"kind": task.kind, "stage": task.stage, "round": task.round, "under_way": True}, {}, {})


def message_to_answer(site: str, message: Message) -> Answer:
    """Return the answer that a message holds.

    Args:
      site: the site that sent it, as the engine knows it.
      message: the message.

    Raises:
      InputError: the message holds no answer, or one that `SiteUpdate` refuses; it names the site.
    """
    words, arrays = message.words, message.arrays
    try:
        count = words["count"]
        latents = LatentStatistics(count, arrays[SUM], arrays[SUM_OUTER]) if SUM in arrays else None
        gradients, encrypted = (_remove_prefix(prefix, arrays) for prefix in (GRADIENTS, ENCRYPTED))
        update = SiteUpdate(site, words["stage"], words["round"], count, gradients, latents, encrypted)
    except KeyError as error:
        expected = "an answer from a site of this version"
        raise InputError(f"answer of {site}", found=f"no {error}", expected=expected) from None
    return Answer(update, message.losses)


def _make_distribution(mean: np.ndarray, covariance: np.ndarray) -> LatentDistribution:
    fits = mean.ndim == 1 and covariance.shape == mean.shape * 2
    if not (fits and np.all(np.isfinite(mean)) and np.all(np.isfinite(covariance))):
        found = f"a mean of shape {mean.shape} and a covariance of shape {covariance.shape}"
        raise InputError("task", found=found, expected="finite values of shapes (d,), (d, d)")
    return LatentDistribution(mean, covariance)


def _add_prefix(prefix: str, arrays: Arrays) -> dict[str, np.ndarray]:
    return {prefix + name: array for name, array in arrays.items()}


def _remove_prefix(prefix: str, arrays: Arrays) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
