"""How long steps of training have taken on this machine; read and written without TensorFlow.

Each kind of step with its settings has a file of its own in the cache folder, below one for the machine and one for the
number of threads, so that runs that end at once do not write over each other.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from fedsim_tf.errors import InputError
from fedsim_tf.files import digest_json, read_json, write_json
from fedsim_tf.models.precision_record import describe_machine
from fedsim_tf.records.versioned import parse

FOLDER = "step_times"  # within the cache folder


class StepTime(NamedTuple):
    """The time of one stage's steps.

    Attributes:
      seconds: a step.
      start: seconds beyond those of steps: what is built, traced and restored.
      relative: how many times as long as on the machine of the built-in table; None where that has no such step.
    """

    seconds: float
    start: float
    relative: float | None = None


def read_step_times(cache_dir: str | os.PathLike) -> dict[str, StepTime]:
    """Return the times that steps took on machines like this, by the word for their kind and settings.

    Those with as many threads as this process has are preferred to others.
    """
    folder, threads = _open_folder(cache_dir)
    own = folder / str(threads)
    files = sorted(folder.glob("*/*.json"), key=lambda file: file.parent == own)
    found = {}
    for file in files:
        with contextlib.suppress(OSError, InputError):  # one that is damaged is measured again
            found[file.stem] = parse(read_json(file), StepTime, subject=file, expected="the time of a step")
    return found


def keep_step_times(cache_dir: str | os.PathLike, times: Mapping[str, StepTime]) -> None:
    """Write times in place of earlier ones; where the cache cannot be written, nothing is kept."""
    folder, threads = _open_folder(cache_dir)
    with contextlib.suppress(OSError):
        for word, time in times.items():
            write_json(folder / str(threads) / f"{word}.json", time._asdict())


def _open_folder(cache_dir: str | os.PathLike) -> tuple[pathlib.Path, int]:
    """Return the folder of this machine's times, and the number of threads."""
    machine: dict[str, Any] = describe_machine()
    lasting = {name: machine[name] for name in ("processor", "gpus", "libraries")}
    return pathlib.Path(cache_dir) / FOLDER / digest_json(lasting)[:16], machine["threads"]
