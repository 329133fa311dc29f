"""Tasks and answers as what an engine carries: arrays, losses and a few words, each with a name."""

from __future__ import annotations

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
MOST_LOSSES = 64  # an image would fit into enough of them
_LOSS_NAME = re.compile(r"[A-Za-z0-9_/-]{1,80}")
WEIGHTS, GRADIENTS, LATENTS = "weights/", "gradients/", "latents/"
MEAN, COVARIANCE = f"{LATENTS}mean", f"{LATENTS}covariance"
SUM, SUM_OUTER = f"{LATENTS}sum", f"{LATENTS}sum_outer"


class Message(NamedTuple):
    """A task or an answer.

    Attributes:
      words: "kind", "stage", "round"; of a task "with_unlabelled"; of an answer "count", "under_way" or "failure".
      arrays: by name: those of a task begin with "weights/", those of an answer with "gradients/", both may have some
        that begin with "latents/".
      losses: of an answer.
    """

    words: Mapping[str, Any]
    arrays: Arrays
    losses: Mapping[str, float]

    @property
    def bytes(self) -> int:
        """Of the arrays."""
        return sum(array.nbytes for array in self.arrays.values())


def check_form(message: Message) -> None:
    """Refuses what can be no message whatever it says: words go into logs and tables, short and in one line.

    Raises:
      InputError: names what is odd.
    """
    if "kind" not in message.words:
        raise InputError("message", found="no kind of task", expected="what this version sends")
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
    """Refuses what are no losses: few, finite, with plain names.

    Raises:
      InputError: names what is odd, and whose it is.
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


def of_task(task: Task) -> Message:
    """What every site receives."""
    words = {"kind": task.kind, "stage": task.stage, "round": task.round, "with_unlabelled": task.with_unlabelled}
    arrays = _prefixed(WEIGHTS, task.weights)
    if task.distribution is not None:
        arrays |= {MEAN: task.distribution.mean, COVARIANCE: task.distribution.covariance}
    return Message(words, arrays, {})


def to_task(message: Message) -> Task:
    """The task that was sent.

    Raises:
      InputError: a message that is no task.
    """
    words, arrays = message.words, message.arrays
    try:
        distribution = _distribution(arrays[MEAN], arrays[COVARIANCE]) if MEAN in arrays else None
        return Task(
            words["kind"], words["stage"], words["round"], _named(WEIGHTS, arrays), distribution,
            words["with_unlabelled"],
        )  # fmt: skip
    except KeyError as error:
        raise InputError("task", found=f"none of {error}", expected="what the server of this version sends") from None


def of_answer(task: Task, answer: Answer) -> Message:
    """What a site sends; who it is, the engine knows better than it."""
    update = answer.update
    words = {"kind": task.kind, "stage": update.stage, "round": update.round, "count": update.count}
    arrays = _prefixed(GRADIENTS, update.gradients)
    if update.latents is not None:
        arrays |= {SUM: update.latents.sum, SUM_OUTER: update.latents.sum_outer}
    return Message(words, arrays, answer.losses)


def of_failure(task: Task, reason: str) -> Message:
    """What a site sends that has no answer."""
    return Message({"kind": task.kind, "stage": task.stage, "round": task.round, "failure": reason}, {}, {})


def of_work_under_way(task: Task) -> Message:
    """What a site sends that has no answer yet."""
    return Message({"kind": task.kind, "stage": task.stage, "round": task.round, "under_way": True}, {}, {})


def to_answer(site: str, message: Message) -> Answer:
    """The answer that a site sent.

    Raises:
      InputError: a message that is no answer, or one that no `SiteUpdate` can hold; it names the site.
    """
    words, arrays = message.words, message.arrays
    try:
        count = words["count"]
        latents = LatentStatistics(count, arrays[SUM], arrays[SUM_OUTER]) if SUM in arrays else None
        update = SiteUpdate(site, words["stage"], words["round"], count, _named(GRADIENTS, arrays), latents)
    except KeyError as error:
        raise InputError(f"answer of {site}", found=f"none of {error}", expected="what this version sends") from None
    return Answer(update, message.losses)


def _distribution(mean: np.ndarray, covariance: np.ndarray) -> LatentDistribution:
    fits = mean.ndim == 1 and covariance.shape == mean.shape * 2
    if not (fits and np.all(np.isfinite(mean)) and np.all(np.isfinite(covariance))):
        found = f"a mean of shape {mean.shape} and a covariance of shape {covariance.shape}"
        raise InputError("task", found=found, expected="finite ones that fit")
    return LatentDistribution(mean, covariance)


def _prefixed(prefix: str, arrays: Arrays) -> dict[str, np.ndarray]:
    return {prefix + name: array for name, array in arrays.items()}


def _named(prefix: str, arrays: Arrays) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
