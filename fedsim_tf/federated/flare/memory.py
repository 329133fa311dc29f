"""Memory over many rounds."""

from __future__ import annotations

from nvflare.fuel.utils.memory_utils import cleanup_memory

TASKS = 5


class Upkeep:
    """Gives freed memory back to the system after every few tasks.

    A round's arrays come and go in several of FLARE's threads, and glibc keeps what each of them has freed: over
    hundreds of rounds a process would grow by hundreds of megabytes that nothing uses.
    """

    def __init__(self):
        self._tasks = 0

    def after_task(self) -> None:
        """To be called after each task."""
        self._tasks += 1
        if self._tasks % TASKS == 0:
            cleanup_memory()
