"""Memory of a process over many rounds."""

from __future__ import annotations

from nvflare.fuel.utils.memory_utils import cleanup_memory

_TASKS = 5  # between two clean-ups


class Upkeep:
    """A counter of tasks that gives freed memory back to the system after every few of them.

    The arrays of a round come and go in several of FLARE's threads, and glibc keeps what each thread has freed: over
    hundreds of rounds a process would grow by hundreds of megabytes that nothing uses.
    """

    def __init__(self):
        self._tasks = 0

    def note_task(self) -> None:
        """Count a task that is done."""
        self._tasks += 1
        if self._tasks % _TASKS == 0:
            cleanup_memory()
