"""The engine that runs all sites and the server in one process."""

from __future__ import annotations

from collections.abc import Sequence

from fedsim_tf.federated.encryption.encrypting_site import EncryptingSite
from fedsim_tf.federated.message import answer_to_message, message_to_answer
from fedsim_tf.federated.site import Site
from fedsim_tf.federated.task import Answer, Answers, Task


class InProcess:
    """An `Exchange` that asks sites of this process, one after the other.

    A site whose numbers were not finite is not asked again: the next start resumes it from its last checkpoint.

    Args:
      sites: the sites in the order in which they are asked.
    """

    def __init__(self, sites: Sequence[Site | EncryptingSite]):
        self._sites = sites
        self._gone: dict[str, str] = {}

    def __call__(self, task: Task) -> Answers:
        received: list[Answer] = []
        for site in self._sites:
            if site.name in self._gone:
                continue
            try:
                answer = site.answer(task)
                received.append(message_to_answer(site.name, site.outbox.let_pass(answer_to_message(task, answer))))
            except FloatingPointError as error:
                self._gone[site.name] = f"{site.name}: {error}"
        return Answers(received, dict(self._gone))
