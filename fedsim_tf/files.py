"""Files that are either whole or not there, written beside and renamed; and tables that grow row by row."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import hashlib
import io
import json
import math
import os
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

import numpy as np
from absl import logging

from fedsim_tf.errors import InputError, RunStopped

_PARTIAL = ".partial-"
_CHUNK = 1 << 22  # bytes


def is_partial(path: pathlib.Path) -> bool:
    """Whether this is a file that some process is writing, or was when it was killed."""
    return path.name.startswith(_PARTIAL)


def whole_files(folder: pathlib.Path, pattern: str) -> list[pathlib.Path]:
    """Files below a folder that match and are not left over, half written, from a process that was killed; sorted."""
    return sorted(file for file in folder.rglob(pattern) if not is_partial(file))


@contextlib.contextmanager
def replaced(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a temporary path with the same suffixes; on success it takes the place of `path`.

    What the system refuses, such as on a full disk, names `path` where nothing else is named.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_PARTIAL}{os.getpid()}-{path.name}")
    try:
        yield temporary
        to_disk(temporary)
        os.replace(temporary, path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


_HELD: dict[pathlib.Path, TextIO] = {}  # locks are gone with their files


def hold(folder: pathlib.Path, *, seconds: float = 60.0) -> None:
    """Keeps a folder for this process until it ends; a process that is about to end is waited for.

    Raises:
      RunStopped: another process has it, still after that many seconds.
    """
    path = folder.resolve() / ".lock"
    if path in _HELD:
        return
    for left in range(math.ceil(seconds), -1, -1):
        if (file := locked(path)) is not None:
            _HELD[path] = file
            return
        time.sleep(min(left, 1))
    raise RunStopped(f"{folder}: another process works in it")


@contextlib.contextmanager
def held(folder: pathlib.Path, *, seconds: float = 60.0) -> Iterator[None]:
    """`hold`, until the end of the context; within another one for the same folder, of that."""
    path = folder.resolve() / ".lock"
    within = path in _HELD
    hold(folder, seconds=seconds)
    try:
        yield
    finally:
        if not within:
            _HELD.pop(path).close()


def locked(path: pathlib.Path) -> TextIO | None:
    """A file, made if need be, locked as long as this process or one that inherits it has it open.

    None where another one has it. Where the file system has no locks, that is warned of.
    """
    file = open(path, "w", encoding="utf-8")  # noqa: SIM115 (the caller keeps it)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError as error:
        text = "%s: its file system has no locks (%s); two processes there would not notice"
        logging.warning(text, path.parent, error)
    return file


def to_disk(path: str | os.PathLike) -> None:
    """Forces a file or folder to the disk: a rename may get there before what it renames, and a power cut between."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def owners_alone() -> Iterator[None]:
    """Files that the process makes meanwhile can be read by their owner alone."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file atomically."""
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_npz(path: str | os.PathLike, arrays: Mapping[str, Any], *, compressed: bool = False) -> None:
    """Writes arrays as .npz, without pickle, atomically."""
    whole = io.BytesIO()  # NumPy leaves an archive that it could not write to the end open, and complains later
    (np.savez_compressed if compressed else np.savez)(whole, **{name: np.asarray(a) for name, a in arrays.items()})
    with replaced(path) as temporary:
        temporary.write_bytes(whole.getbuffer())


def write_json(path: str | os.PathLike, values: Any) -> None:
    """Writes readable JSON atomically."""
    write_text(path, as_json(values))


def as_json(values: Any) -> str:
    """What `write_json` writes."""
    return json.dumps(values, indent=2, sort_keys=True) + "\n"


def read_json(path: str | os.PathLike) -> Any:
    """Reads JSON.

    Raises:
      InputError: a file that is damaged.
    """
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(path, found=f"no JSON ({error})", expected="the file as it was written") from None


def digest(values: Any) -> str:
    """SHA-256 of what can be written as JSON, in hexadecimal; the order of keys is all one."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def file_digest(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    found = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def files_digest(paths: Sequence[str | os.PathLike]) -> str:
    """Return the digest of one file, or of several files together, in whatever order they are given."""
    digests = sorted(file_digest(path) for path in paths)
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def append_rows(path: pathlib.Path, heading: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Adds rows to a CSV; a new one begins with the heading, a row that was cut short ends where it is."""
    new = not path.exists() or not path.stat().st_size
    with open(path, "a", newline="", encoding="utf-8") as file:
        if not new and _is_cut_short(path):
            file.write("\n")
        csv.writer(file).writerows([heading, *rows] if new else rows)


def _is_cut_short(path: pathlib.Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def read_rows(path: pathlib.Path) -> list[list[str]]:
    """The rows of a CSV without its heading; none where there is no file."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]
