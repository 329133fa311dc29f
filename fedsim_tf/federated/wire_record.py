"""Tables of the messages between sites and server: kind, round and bytes of each."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from fedsim_tf.federated.message import ENCRYPTED, ENCRYPTED_LATENTS, Message
from fedsim_tf.federated.task import GRADIENTS
from fedsim_tf.files import append_rows, read_rows, sync_to_disk

SENT, RECEIVED, BROADCAST = "sent", "received", "broadcast"
EVERYONE = "all sites"


class SentMessage(NamedTuple):
    """A row of the table of messages.

    Attributes:
      site: the site that sent the message, or `EVERYONE` where the server broadcast it.
      task: kind of the task.
      stage, round: the stage and its round.
      arrays: how many arrays the message has.
      bytes: how many bytes these have.
      losses: how many losses the message has.
      word: "under way", or why there is no answer; else "".
      digest: the message's digest where a site sends arrays or losses, so that an answer that is sent again is known;
        of an encrypted one, that of what it holds. "" at the server, and in records of before.
    """

    site: str
    task: str
    stage: str
    round: int
    arrays: int
    bytes: int
    losses: int
    word: str
    digest: str = ""


class ArrayRow(NamedTuple):
    """A row of the table of arrays: one that was part of some message."""

    site: str
    task: str
    name: str
    shape: str
    type: str


class WireRecord:
    """Two tables: `<name>.csv` has a row for each message, `<name>_arrays.csv` one for each different array.

    Args:
      folder: folder of the tables; rows are added to those of an earlier start.
      name: `SENT` at a site; `RECEIVED`, or for its tasks `BROADCAST`, at the server.
    """

    def __init__(self, folder: pathlib.Path, name: str):
        self._messages, self._arrays = folder / f"{name}.csv", folder / f"{name}_arrays.csv"
        self._survives = name == SENT  # the privacy account must not forget in a power cut what has left
        if self._survives and self._messages.exists():
            sync_to_disk(folder)  # an earlier process may have been killed between the file and its folder
        self._seen = {tuple(row) for row in read_rows(self._arrays)}

    def note(self, site: str, message: Message, *, holds: Mapping[str, str] = MappingProxyType({})) -> None:
        """Add a message; what a site sends is on the disk when this returns.

        Args:
          site: the site that sends it, or `EVERYONE`.
          message: the message.
          holds: digests of what encrypted messages hold, by the digests of these.
        """
        words, task = message.words, message.words["kind"]
        word = "under way" if "under_way" in words else str(words.get("failure", ""))
        count, losses = len(message.arrays), len(message.losses)
        digest = message.digest if self._survives and (count or losses) else ""
        digest = holds.get(digest, digest)
        place = words.get("stage", ""), words.get("round", 0)
        row = SentMessage(site, task, *place, count, message.bytes, losses, word, digest)
        append_rows(self._messages, SentMessage._fields, [row], survives=self._survives)
        arrays = dict.fromkeys(_describe(site, task, name, array) for name, array in message.arrays.items())
        new = [array for array in arrays if array not in self._seen]
        if new:
            append_rows(self._arrays, ArrayRow._fields, new, survives=self._survives)
            self._seen |= set(new)


def _describe(site: str, task: str, name: str, array: np.ndarray) -> ArrayRow:
    """Return the row of an array; ciphertexts, whose lengths differ from round to round, share one."""
    for kind in (ENCRYPTED, ENCRYPTED_LATENTS):
        if name.startswith(kind):
            return ArrayRow(site, task, kind, "ciphertexts", str(array.dtype))
    return ArrayRow(site, task, name, "x".join(map(str, array.shape)), str(array.dtype))


def read_wire_record(folder: pathlib.Path, name: str) -> list[SentMessage]:
    """Return the rows of `<name>.csv`; none where there is no file. A row that was cut short counts as gradients."""
    return [_parse_row(values) for values in read_rows(folder / f"{name}.csv")]


def _parse_row(values: list[str]) -> SentMessage:
    try:
        site, task, stage, round_number, arrays, size, losses, *rest = values
        word, digest = rest if len(rest) == 2 else (*rest, "")
        return SentMessage(site, task, stage, int(round_number), int(arrays), int(size), int(losses), word, digest)
    except ValueError:
        return SentMessage("", GRADIENTS, "", 0, 1, 0, 0, f"damaged: {','.join(values)}")
