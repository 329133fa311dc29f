"""A site whose gradients and moments of latents the server cannot read."""

from __future__ import annotations

import dataclasses

from fedsim_tf.federated.encryption.encrypted_moments import moments_to_arrays
from fedsim_tf.federated.encryption.shared_state import SharedState
from fedsim_tf.federated.encryption.sum_cipher import SumCipher
from fedsim_tf.federated.message import answer_to_message
from fedsim_tf.federated.outbox import Outbox
from fedsim_tf.federated.site import Site
from fedsim_tf.federated.task import Answer, Task


class EncryptingSite:
    """A `Site` that takes the server's steps itself and encrypts what it answers.

    Args:
      site: the site, which is asked as by a server that knows the weights.
      state: the shared weights here.
      cipher: with the key.
    """

    def __init__(self, site: Site, state: SharedState, cipher: SumCipher):
        self.name, self._site, self._state, self._cipher = site.name, site, state, cipher

    @property
    def outbox(self) -> Outbox:
        """The gate that every answer passes on its way out; no gradients and no moments pass it but encrypted ones."""
        return self._site.outbox

    def answer(self, task: Task) -> Answer:
        """Do what a task asks for, and return the answer with gradients or moments encrypted; see `Site.answer`."""
        plain = self._site.answer(self._state.clear(task))
        self._state.keep(task)
        update = plain.update
        arrays = update.gradients if update.latents is None else moments_to_arrays(update.latents)
        if not arrays:
            return plain
        hidden = dataclasses.replace(update, gradients={}, latents=None, encrypted=self._cipher.encrypt(arrays))
        encrypted = plain._replace(update=hidden)
        self.outbox.note_contents(answer_to_message(task, encrypted), answer_to_message(task, plain))
        return encrypted
