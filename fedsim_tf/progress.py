"""Progress bars: live on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys

from tqdm import tqdm

TERMINAL_INTERVAL_S, LOG_INTERVAL_S = 0.2, 30.0


def progress_bar(total: int, description: str, *, done: int = 0) -> tqdm:
    """A bar of `total` items of which `done` are done; call `update()` after each, use it as a context."""
    interval = TERMINAL_INTERVAL_S if sys.stderr.isatty() else LOG_INTERVAL_S
    return tqdm(
        total=total, initial=done, desc=description, mininterval=interval, maxinterval=interval, dynamic_ncols=True
    )
