"""The in-process engine: all sites and the server in one process."""

from __future__ import annotations

from collections.abc import Sequence

from fedsim_tf.federated.message import of_answer, to_answer
from fedsim_tf.federated.site import Site
from fedsim_tf.federated.task import Answer, Answers, Task


class InProcess:
    """Asks sites of this process, one after the other; see `Exchange`."""

    def __init__(self, sites: Sequence[Site]):
        self._sites = sites

    def __call__(self, task: Task) -> Answers:
        received: list[Answer] = []
        missing: dict[str, str] = {}
        for site in self._sites:
            try:
                answer = site.answer(task)
                received.append(to_answer(site.name, site.outbox.let_pass(of_answer(task, answer))))
            except FloatingPointError as error:
                missing[site.name] = str(error)
        return Answers(received, missing)
