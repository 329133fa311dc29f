"""Warnings about files, which stay with what was made of the files: the log says them again when that is read."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

from absl import logging

_COLLECTED: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("collected remarks", default=None)
_SAID: set[str] = set()


def warn(text: str, *arguments: object) -> None:
    """Log a warning about a file, and hand it to the innermost `collect_remarks` that is open.

    Args:
      text: the warning, which names the file; arguments: what `%` fills in.
    """
    remark = text % arguments
    logging.warning("%s", remark)
    _SAID.add(remark)
    collected = _COLLECTED.get()
    if collected is not None:
        collected.append(remark)


def repeat(remark: str) -> None:
    """Log a warning of before, unless this process has logged it."""
    if remark not in _SAID:
        warn("%s", remark)


@contextlib.contextmanager
def collect_remarks() -> Iterator[list[str]]:
    """Give a list that holds, at the end of the context, every warning that was given inside."""
    remarks: list[str] = []
    token = _COLLECTED.set(remarks)
    try:
        yield remarks
    finally:
        _COLLECTED.reset(token)
