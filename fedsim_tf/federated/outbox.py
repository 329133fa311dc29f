"""The last check of what leaves a site, and the record of what has left."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.federated.encryption.sum_cipher import SumCipher
from fedsim_tf.federated.message import ENCRYPTED, GRADIENTS, LONGEST_WORD, SUM, SUM_OUTER, Message, check_losses
from fedsim_tf.federated.task import GRADIENTS as ASKED_FOR_GRADIENTS
from fedsim_tf.federated.task import KINDS
from fedsim_tf.federated.task import LATENTS as ASKED_FOR_LATENTS
from fedsim_tf.federated.update import Arrays, is_bytes
from fedsim_tf.federated.wire_record import SENT, WireRecord

Shapes = Mapping[str, tuple[int, ...]]

NOT_BEGUN = "refused or could not begin, its own log says why"
_WORDS = ("kind", "stage", "round", "count", "failure", "under_way")


def is_plain_sign(message: Message) -> bool:
    """Return whether a message says only that a task is under way, or that the site could not begin.

    No other message may leave a machine while its site is being opened, or after it could not be opened.
    """
    words = message.words
    plain = all(isinstance(value, str | int) and len(str(value)) <= LONGEST_WORD for value in words.values())
    rest = {name: value for name, value in words.items() if name not in ("kind", "stage", "round")}
    told = rest in ({"under_way": True}, {"failure": NOT_BEGUN})
    return plain and told and not message.arrays and not message.losses


class Outbox:
    """The gate of a site: it lets pass what a site may send and nothing else, whatever the server has asked for.

    Args:
      site: the site's name.
      folder: the site's folder, where what has left is recorded; see `WireRecord`.
      shapes: shapes of the shared networks' variables by name, as this site's own configuration makes them.
      latent: length of a latent.
      minimum: the least number of volumes over whose latents moments may be taken.
      cipher: what gradients and moments are encrypted with, where none may leave otherwise.
    """

    def __init__(
        self,
        site: str,
        folder: pathlib.Path,
        *,
        shapes: Shapes,
        latent: int,
        minimum: int,
        cipher: SumCipher | None = None,
    ):
        self._site, self._minimum, self._cipher = site, minimum, cipher
        self._record = WireRecord(folder, SENT)
        self._holds: Mapping[str, str] = {}  # digest of the last encrypted answer: that of what it holds
        self._gradients = {GRADIENTS + name: tuple(shape) for name, shape in shapes.items()}
        self._moments = {SUM: (latent,), SUM_OUTER: (latent, latent)}

    def note_contents(self, encrypted: Message, plain: Message) -> None:
        """Say what an encrypted answer holds: for the record it is that answer, however often it is encrypted."""
        self._holds = {encrypted.digest: plain.digest}

    def let_pass(self, message: Message) -> Message:
        """Check a message, record it as sent and return it.

        Raises:
          InputError: something in the message may not leave; the error says what.
        """
        self.check(message)
        self._record.note(self._site, message, holds=self._holds)
        return message

    def check(self, message: Message) -> None:
        """Check a message without recording it.

        Raises:
          InputError: something in the message may not leave; the error says what.
        """
        self._check_arrays(message)
        self._check_words(message.words)
        try:
            check_losses(message.losses, of=self._site)
        except InputError as error:
            self._refuse(str(error))

    def _check_arrays(self, message: Message) -> None:
        allowed = self._allowed_arrays(message)
        if self._cipher is not None and allowed:
            self._check_encrypted(message.arrays)
            return
        for name, array in message.arrays.items():
            if name not in allowed:
                self._refuse(f"an array {name!r} in an answer to {message.words.get('kind')!r}")
            if not isinstance(array, np.ndarray) or array.shape != allowed[name]:
                self._refuse(f"{name} of shape {getattr(array, 'shape', None)}, not {allowed[name]}")
            if array.dtype not in (np.float32, np.float64) or not np.all(np.isfinite(array)):
                self._refuse(f"{name} of {array.dtype} that are not all finite")

    def _check_encrypted(self, arrays: Arrays) -> None:
        """Refuse whatever is no ciphertext."""
        for name, array in arrays.items():
            if not (name.startswith(ENCRYPTED) and is_bytes(array) and self._cipher and self._cipher.reads(array)):
                self._refuse(f"an array {name!r} that is not encrypted")

    def _allowed_arrays(self, message: Message) -> Shapes:
        kind = message.words.get("kind")
        if kind == ASKED_FOR_GRADIENTS:
            return self._gradients
        count = message.words.get("count", 0)
        return self._moments if kind == ASKED_FOR_LATENTS and count >= self._minimum else {}

    def _check_words(self, words: Mapping[str, Any]) -> None:
        if words.get("kind") not in KINDS:
            self._refuse("no kind of task")
        for name, value in words.items():
            if name not in _WORDS or not isinstance(value, str | int) or len(str(value)) > LONGEST_WORD:
                self._refuse(f"{str(name)[:50]!r} beside the answer")

    def _refuse(self, found: str) -> NoReturn:
        moments = f"moments of {self._minimum} latents or more"
        expected = f"gradients of shared networks, or {moments}, and losses; it stays here"
        raise InputError(f"what {self._site} sends", found=found, expected=expected) from None
