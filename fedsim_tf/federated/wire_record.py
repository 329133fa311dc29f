"""What was sent between sites and server: kind and bytes, by site and round."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

from fedsim_tf.federated.message import Message
from fedsim_tf.federated.task import GRADIENTS
from fedsim_tf.files import append_rows, read_rows, to_disk

SENT, RECEIVED, BROADCAST = "sent", "received", "broadcast"
EVERYONE = "all sites"


class SentMessage(NamedTuple):
    """One message. `arrays`, `bytes` and `losses` are how many; `word` is "under way", or why there is no answer."""

    site: str
    task: str
    stage: str
    round: int
    arrays: int
    bytes: int
    losses: int
    word: str


class ArrayRow(NamedTuple):
    """An array that was ever part of a message."""

    site: str
    task: str
    name: str
    shape: str
    type: str


class WireRecord:
    """Two tables: `<name>.csv` with a row for each message, `<name>_arrays.csv` with one for each different array.

    Args:
      folder: where they are; a record of an earlier start is gone on with.
      name: "sent" at a site; at the server "received", and "broadcast" for its tasks.
    """

    def __init__(self, folder: pathlib.Path, name: str):
        self._messages, self._arrays = folder / f"{name}.csv", folder / f"{name}_arrays.csv"
        self._survives = name == SENT  # the privacy account must not forget in a power cut what has left
        if self._survives and self._messages.exists():
            to_disk(folder)  # an earlier process may have been killed between the file and its folder
        self._seen = {tuple(row) for row in read_rows(self._arrays)}

    def note(self, site: str, message: Message) -> None:
        """Adds a site's message."""
        words, task = message.words, message.words["kind"]
        word = "under way" if "under_way" in words else str(words.get("failure", ""))
        count, losses = len(message.arrays), len(message.losses)
        row = SentMessage(site, task, words.get("stage", ""), words.get("round", 0), count, message.bytes, losses, word)
        append_rows(self._messages, SentMessage._fields, [row], survives=self._survives)
        arrays = [
            ArrayRow(site, task, name, "x".join(map(str, array.shape)), str(array.dtype))
            for name, array in message.arrays.items()
        ]
        new = [array for array in arrays if array not in self._seen]
        if new:
            append_rows(self._arrays, ArrayRow._fields, new, survives=self._survives)
            self._seen |= set(new)


def read_record(folder: pathlib.Path, name: str) -> list[SentMessage]:
    """The rows of `<name>.csv`; none where there is none. One that was cut short counts as gradients sent."""
    return [_row(values) for values in read_rows(folder / f"{name}.csv")]


def _row(values: list[str]) -> SentMessage:
    try:
        site, task, stage, round_number, arrays, size, losses, word = values
        return SentMessage(site, task, stage, int(round_number), int(arrays), int(size), int(losses), word)
    except ValueError:
        return SentMessage("", GRADIENTS, "", 0, 1, 0, 0, f"damaged: {','.join(values)}")


def read_arrays(folder: pathlib.Path, name: str) -> list[ArrayRow]:
    """The rows of `<name>_arrays.csv`; none where there is none."""
    return [ArrayRow(*row) for row in read_rows(folder / f"{name}_arrays.csv")]
