"""Progress: a bar on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import os
import pathlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping

from absl import logging
from tqdm import tqdm

TERMINAL_INTERVAL_S, LOG_INTERVAL_S = 0.2, 30.0


def progress_bar(total: int, description: str, *, done: int = 0, unit: str = "it") -> tqdm | ProgressLines:
    """Progress over `total` items of which `done` are done; call `update()` after each, use it as a context."""
    if not sys.stderr.isatty():
        return ProgressLines(total, description, done=done, unit=unit)
    return tqdm(
        total=total, initial=done, desc=description, unit=unit, mininterval=TERMINAL_INTERVAL_S, dynamic_ncols=True
    )


class ProgressLines:
    """The part of tqdm's interface that is used here, as log lines without carriage returns.

    Such as "gan: step 120 of 3000, 0.35 s/step, 17 min left, discriminator 1.2, vgg 3.4".

    Args:
      total, done: items in all and so far; `total` may be changed while it runs.
      interval_s: between lines; the rate is that of the interval.
      clock: seconds, for tests.
    """

    def __init__(
        self,
        total: int,
        description: str,
        *,
        done: int = 0,
        unit: str = "it",
        interval_s: float = LOG_INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.total, self.n = total, done
        self._description, self._unit, self._interval_s, self._clock = description, unit, interval_s, clock
        self._postfix = ""
        self._start = self._said_at = clock()
        self._start_n = self._said_n = done
        self._lock = threading.Lock()

    def __enter__(self) -> ProgressLines:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and self.n > self._start_n:
            took = duration(self._clock() - self._start)
            logging.info("%s: %d of %d after %s%s", self._description, self.n, self.total, took, self._postfix)

    def set_postfix(self, values: Mapping[str, object], refresh: bool = False) -> None:
        """What follows the next line, such as losses."""
        self._postfix = "".join(f", {key} {value}" for key, value in values.items())

    def set_postfix_str(self, text: str, refresh: bool = False) -> None:
        self._postfix = f", {text}" if text else ""

    def update(self, n: int = 1) -> None:
        """Counts n more items; says so if the last line is long enough ago."""
        with self._lock:
            self.n += n
            now = self._clock()
            if now - self._said_at < self._interval_s or self.n <= self._said_n or self.n >= self.total:
                return
            each_s = (now - self._said_at) / (self.n - self._said_n)
            self._said_at, self._said_n = now, self.n
        unit = "" if self._unit == "it" else f"{self._unit} "
        left = duration(each_s * (self.total - self.n))
        logging.info(
            "%s: %s%d of %d, %.3g s/%s, %s left%s",
            self._description,
            unit,
            self.n,
            self.total,
            each_s,
            self._unit,
            left,
            self._postfix,
        )


def duration(seconds: float) -> str:
    """A time in its most fitting unit, such as "17 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def room(count: float, folder: str | os.PathLike) -> str:
    """Bytes that a folder will take beside those that its disk has left, such as "17 GB; 57 GB are free"."""
    path = pathlib.Path(folder).absolute()
    free = shutil.disk_usage(next(one for one in (path, *path.parents) if one.exists())).free
    return f"{readable(count)}; {readable(free)} are free{'' if count < free else ', TOO FEW'}"


def readable(count: float) -> str:
    """Bytes, such as "57 GB"."""
    if count < 1e9:
        return f"{count / 1e6:.0f} MB"
    return f"{count / 1e9:.1f} GB" if count < 9.95e9 else f"{count / 1e9:.0f} GB"


def count_text(count: int, noun: str) -> str:
    """Return a number with its noun in the right form, such as "1 step" or "12 steps"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
