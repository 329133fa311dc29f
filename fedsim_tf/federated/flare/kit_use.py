"""Which processes of a site's kit are at work: a kit that was started twice, or copied, has two at once."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import NamedTuple

RECENT_SECONDS = 40.0  # without a sign of life, after which a process counts as ended


class _Heard(NamedTuple):
    """When a process was heard, first and last."""

    first: float
    last: float


class KitUse:
    """The processes of each site that have given a sign of life of late.

    One that ends before another begins is a restart. Where one is heard after another has begun, both are at work.

    Args:
      recent: seconds without a sign of life after which a process counts as ended.
      clock: returns the time in seconds.
    """

    def __init__(self, *, recent: float = RECENT_SECONDS, clock: Callable[[], float] = time.monotonic):
        self._recent, self._clock = recent, clock
        self._heard: dict[str, dict[str, _Heard]] = {}

    def hear(self, site: str, process: str) -> None:
        """Note a sign of life of a process."""
        now, known = self._clock(), self._list_alive(site)
        known[process] = _Heard(known[process].first if process in known else now, now)
        self._heard[site] = known

    def is_alive(self, site: str, process: str) -> bool:
        """Return whether a process has given a sign of life of late."""
        return process in self._list_alive(site)

    def is_used_twice(self, site: str) -> bool:
        """Return whether two processes of a site have been at work at once of late."""
        alive = sorted(self._list_alive(site).values())
        return any(earlier.last > later.first for earlier, later in itertools.combinations(alive, 2))

    def _list_alive(self, site: str) -> dict[str, _Heard]:
        since = self._clock() - self._recent
        return {process: heard for process, heard in self._heard.get(site, {}).items() if heard.last >= since}
