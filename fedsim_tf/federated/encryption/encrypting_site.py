"""A site whose gradients and moments of latents the server cannot read."""

from __future__ import annotations

import dataclasses

import numpy as np

from fedsim_tf.federated.encryption.encrypted_moments import moments_to_arrays
from fedsim_tf.federated.encryption.shared_state import SharedState
from fedsim_tf.federated.encryption.sum_cipher import SumCipher
from fedsim_tf.federated.outbox import Outbox
from fedsim_tf.federated.site import Site
from fedsim_tf.federated.task import Answer, Task
from fedsim_tf.federated.update import Arrays


class EncryptingSite:
    """A `Site` that takes the server's steps itself and encrypts what it answers.

    Args:
      site: the site, which is asked as by a server that knows the weights.
      state: the shared weights here.
      cipher: with the key.
    """

    def __init__(self, site: Site, state: SharedState, cipher: SumCipher):
        self.name, self._site, self._state, self._cipher = site.name, site, state, cipher
        self._plain: Arrays = {}  # what the last answer had
        self._encrypted: Arrays = {}  # the ciphertexts of it

    @property
    def outbox(self) -> Outbox:
        """The gate that every answer passes on its way out; no gradients and no moments pass it but encrypted ones."""
        return self._site.outbox

    def answer(self, task: Task) -> Answer:
        """Do what a task asks for, and return the answer with gradients or moments encrypted; see `Site.answer`."""
        answer = self._site.answer(self._state.clear(task))
        self._state.keep(task)
        update = answer.update
        plain = update.gradients if update.latents is None else moments_to_arrays(update.latents)
        if not plain:
            return answer
        encrypted = self._encrypt(plain)
        return answer._replace(update=dataclasses.replace(update, gradients={}, latents=None, encrypted=encrypted))

    def _encrypt(self, plain: Arrays) -> Arrays:
        """Return ciphertexts of an answer; the same ones for an answer that is given again.

        Others of the same values would count as another answer in the account of what noise has been spent on.
        """
        if not _are_equal(plain, self._plain):
            self._plain, self._encrypted = plain, self._cipher.encrypt(plain)
        return self._encrypted


def _are_equal(one: Arrays, other: Arrays) -> bool:
    return set(one) == set(other) and all(np.array_equal(one[name], other[name]) for name in one)
