"""Files below a folder."""

from __future__ import annotations

import contextlib
import contextvars
import os
import pathlib
from collections.abc import Iterator

_Walks = dict[tuple[pathlib.Path, bool], list[pathlib.Path]]
_WALKS: contextvars.ContextVar[_Walks | None] = contextvars.ContextVar("walks that are remembered", default=None)


@contextlib.contextmanager
def remember_walks() -> Iterator[None]:
    """Walk each folder once inside the context: layouts look for their files one after the other."""
    token = _WALKS.set({})
    try:
        yield
    finally:
        _WALKS.reset(token)


def walk_files(root: pathlib.Path, *, below: bool = True) -> Iterator[pathlib.Path]:
    """Yield every file of a folder and of those below it, linked folders too, hidden files (macOS's ._ files) left out.

    Args:
      root: the folder.
      below: whether other folders within are walked too.
    """
    walks, key = _WALKS.get(), (pathlib.Path(root), below)
    if walks is None:
        yield from _walk(root, below=below)
        return
    if key not in walks:
        walks[key] = list(_walk(root, below=below))
    yield from walks[key]


def _walk(root: pathlib.Path, *, below: bool) -> Iterator[pathlib.Path]:
    visited = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        # A link back to a folder that was seen would otherwise be walked for ever.
        seen = real in visited
        folders[:] = [] if seen or not below else sorted(name for name in folders if not name.startswith("."))
        visited.add(real)
        if not seen:
            yield from (pathlib.Path(folder, name) for name in sorted(names) if not name.startswith("."))
