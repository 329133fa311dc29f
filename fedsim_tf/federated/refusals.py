"""The server's record of the answers that it could not use, and its words on them at a run's end."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

from absl import logging

from fedsim_tf.federated.task import Task
from fedsim_tf.files import append_rows, read_rows

REFUSED = "refused.csv"
_HEADING = ("task", "stage", "round", "site", "reason")


def note_refused(folder: pathlib.Path, task: Task, refused: Mapping[str, str]) -> None:
    """Record and log the sites that gave no usable answer to a task, with the reasons."""
    if refused:
        rows = [(task.kind, task.stage, task.round, site, reason) for site, reason in refused.items()]
        append_rows(folder / REFUSED, _HEADING, rows)
        for site, reason in refused.items():
            logging.warning("%s, round %d: without %s: %s", task.stage or task.kind, task.round, site, reason)


def summarize_refused(folder: pathlib.Path) -> list[str]:
    """Return a line for each site that was left out in a fold: how often, when last, and why then."""
    rows = [row for row in read_rows(folder / REFUSED) if len(row) == len(_HEADING)]
    lines = []
    for site in dict.fromkeys(row[3] for row in rows):
        own = [row for row in rows if row[3] == site]
        kind, stage, number, _, reason = own[-1]
        times = "once" if len(own) == 1 else f"{len(own)} times, the last time"
        lines.append(f"without {site} {times} at {stage or kind}, round {number}: {reason}")
    return lines
