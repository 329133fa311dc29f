"""Progress: a bar on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import collections
import os
import pathlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from absl import logging
from tqdm import tqdm

TERMINAL_INTERVAL_S, LOG_INTERVAL_S = 0.2, 30.0
_FEWEST_TIMED = 2  # items before a time left is said


def progress_bar(total: int, description: str, *, done: int = 0, unit: str = "it") -> ProgressBar | ProgressLines:
    """Return a display of progress over `total` items of which `done` are done.

    Use it as a context and call `update()` after each item. The first item does not count for the time left: it takes
    longer than the others, as functions are traced and files are read for the first time.
    """
    if not sys.stderr.isatty():
        return ProgressLines(total, description, done=done, unit=unit)
    return ProgressBar(
        total=total, initial=done, desc=description, unit=unit, mininterval=TERMINAL_INTERVAL_S, dynamic_ncols=True
    )


class Pace:
    """The seconds that an item takes at present; the first item does not count.

    Args:
      window_s: the mean is over items of about so many seconds, at least over two.
      clock: returns seconds.
    """

    def __init__(self, window_s: float, clock: Callable[[], float] = time.monotonic):
        self._window_s, self._clock = window_s, clock
        self._marks: collections.deque[tuple[float, float]] = collections.deque()  # items done and when, oldest first

    def mark(self, done: float) -> None:
        """Note that so many items are done now."""
        now = self._clock()
        self._marks.append((done, now))
        while len(self._marks) > 2 and self._marks[1][1] <= now - self._window_s and self._spans(self._marks[1][0]):
            self._marks.popleft()

    def seconds_each(self) -> float | None:
        """Return the seconds an item, None before two are timed."""
        if not self._marks or not self._spans(self._marks[0][0]):
            return None
        (first, begin), (last, end) = self._marks[0], self._marks[-1]
        return (end - begin) / (last - first)

    def _spans(self, first: float) -> bool:
        return self._marks[-1][0] - first >= _FEWEST_TIMED


class ProgressBar(tqdm):
    """tqdm's bar with the rate of `Pace`; rate and time left are shown as "?" before it is known."""

    def __init__(self, *args: Any, **kwargs: Any):
        self._pace = Pace(LOG_INTERVAL_S)
        super().__init__(*args, **kwargs)

    def update(self, n: float | None = 1) -> bool | None:
        """Count n more items."""
        self._pace.mark(self.n + (n or 0))
        return super().update(n)

    @property
    def format_dict(self) -> dict[str, Any]:
        """Return what tqdm formats; it shows a rate of 0 as unknown."""
        each_s = self._pace.seconds_each()
        return {**super().format_dict, "rate": 1.0 / each_s if each_s else 0.0}


class ProgressLines:
    """The part of tqdm's interface that is used here, as log lines without carriage returns.

    A line is like "gan: step 120 of 3000, 0.35 s/step, 17 min left, discriminator 1.2, vgg 3.4".

    Args:
      total, done: items in all and so far; `total` may be changed while it runs.
      description: what the lines begin with.
      unit: what an item is called.
      interval_s: seconds between lines, and window of the rate.
      clock: returns seconds; for tests.
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
        self._pace = Pace(interval_s, clock)
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
        """Set what follows in the next line, such as losses."""
        self._postfix = "".join(f", {key} {value}" for key, value in values.items())

    def set_postfix_str(self, text: str, refresh: bool = False) -> None:
        """Set what follows in the next line, as a text."""
        self._postfix = f", {text}" if text else ""

    def update(self, n: int = 1) -> None:
        """Count n more items and log a line if the last one is long enough ago."""
        with self._lock:
            self.n += n
            self._pace.mark(self.n)
            now = self._clock()
            if now - self._said_at < self._interval_s or self.n <= self._said_n or self.n >= self.total:
                return
            self._said_at, self._said_n = now, self.n
        each_s = self._pace.seconds_each()
        unit = "" if self._unit == "it" else f"{self._unit} "
        rate = ""
        if each_s is not None:
            rate = f", {each_s:.3g} s/{self._unit}, {duration(each_s * (self.total - self.n))} left"
        logging.info("%s: %s%d of %d%s%s", self._description, unit, self.n, self.total, rate, self._postfix)


def count_text(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun in singular or plural, such as "1 step", "2 steps"; the plural adds "s" if None."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """Return a time in its most fitting unit, such as "17 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def room(count: float, folder: str | os.PathLike) -> str:
    """Return the bytes that a folder will take beside those that its disk has left, such as "17 GB; 57 GB are free"."""
    path = pathlib.Path(folder).absolute()
    free = shutil.disk_usage(next(one for one in (path, *path.parents) if one.exists())).free
    return f"{format_bytes(count)}; {format_bytes(free)} are free{'' if count < free else ', TOO FEW'}"


def format_bytes(count: float) -> str:
    """Return bytes in their most fitting unit, such as "57 GB"."""
    if count < 1e9:
        return f"{count / 1e6:.0f} MB"
    return f"{count / 1e9:.1f} GB" if count < 9.95e9 else f"{count / 1e9:.0f} GB"
