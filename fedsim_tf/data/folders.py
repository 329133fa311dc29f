"""Files below a folder."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator


def walk_files(root: pathlib.Path, *, below: bool = True) -> Iterator[pathlib.Path]:
    """Yield every file of a folder and of those below it, linked folders too, hidden files (macOS's ._ files) left out.

    Args:
      root: the folder.
      below: whether other folders within are walked too.
    """
    visited = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        # A link back to a folder that was seen would otherwise be walked for ever.
        seen = real in visited
        folders[:] = [] if seen or not below else sorted(name for name in folders if not name.startswith("."))
        visited.add(real)
        if not seen:
            yield from (pathlib.Path(folder, name) for name in sorted(names) if not name.startswith("."))
