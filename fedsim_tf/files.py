"""Files that are either whole or not there, locks on folders, digests, and tables that grow row by row."""

from __future__ import annotations

import contextlib
import csv
import errno
import fcntl
import hashlib
import io
import json
import math
import os
import pathlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

import numpy as np
from absl import logging

from fedsim_tf.errors import InputError, RunStopped

SUMS = "SHA256SUMS"  # in a folder, the checksums of its files
_PARTIAL = ".partial-"
_CHUNK = 1 << 22  # bytes


def partial_path(path: pathlib.Path) -> pathlib.Path:
    """Return where this process writes what takes the place of a path once it is whole."""
    return path.with_name(f"{_PARTIAL}{os.getpid()}-{path.name}")


def is_partial(path: pathlib.Path) -> bool:
    """Return whether some process is writing this file, or was writing it when it was killed."""
    return path.name.startswith(_PARTIAL)


def list_whole_files(folder: pathlib.Path, pattern: str) -> list[pathlib.Path]:
    """Return the files below a folder that match a pattern, sorted, without those that a process left half written."""
    return sorted(file for file in folder.rglob(pattern) if not is_partial(file))


@contextlib.contextmanager
def write_atomically(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Give a temporary path with the same suffixes, whose file takes the place of `path` at the end of the context.

    Nothing happens to `path` if the context fails. The new file survives a power cut. An error of the system, as on a
    full disk, names `path` if it names no file.
    """
    path = pathlib.Path(path)
    make_folder(path.parent)
    temporary = partial_path(path)
    try:
        yield temporary
        sync_to_disk(temporary)
        os.replace(temporary, path)
        sync_to_disk(path.parent)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def check_picture(path: str | os.PathLike) -> None:
    """Refuse the name of a picture that does not say that it is a PNG.

    Raises:
      InputError: another ending.
    """
    if pathlib.Path(path).suffix.lower() != ".png":
        raise InputError(path, found="another name", expected="one ending in .png, for the picture")


def make_folder(path: str | os.PathLike) -> None:
    """Make a folder, and those above it that are missing, so that they survive a power cut."""
    path = pathlib.Path(path)
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_to_disk(path.parent)


_HELD: dict[pathlib.Path, TextIO] = {}  # locks are gone with their files


def hold(folder: pathlib.Path, *, seconds: float = 60.0) -> None:
    """Keep a folder for this process until it ends, and wait for another process that is about to end.

    Raises:
      RunStopped: another process has it, still after that many seconds.
    """
    path = folder.resolve() / ".lock"
    if path in _HELD:
        return
    for left in range(math.ceil(seconds), -1, -1):
        if (file := lock_file(path)) is not None:
            _HELD[path] = file
            return
        time.sleep(min(left, 1))
    raise RunStopped(f"{folder}: another process works in it")


@contextlib.contextmanager
def hold_during(folder: pathlib.Path, *, seconds: float = 60.0) -> Iterator[None]:
    """Keep a folder for this process until the end of the context, or of the outermost one for the same folder."""
    path = folder.resolve() / ".lock"
    within = path in _HELD
    hold(folder, seconds=seconds)
    try:
        yield
    finally:
        if not within:
            _HELD.pop(path).close()


def lock_file(path: pathlib.Path) -> TextIO | None:
    """Open a file, made if need be, and lock it as long as this process or one that inherits it has it open.

    Return None where another process has locked it. A file system without locks is warned of.
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


def sync_to_disk(path: str | os.PathLike) -> None:
    """Force the contents of a file, or the names in a folder, to the disk.

    A power cut may otherwise leave a name without the contents that were written before it. It may also lose a file
    whose contents are safe: a new or renamed file survives only once its folder is on the disk too.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems, such as network drives, know no fsync of folders; PostgreSQL's fsync_fname passes it over.
        if error.errno not in (errno.EBADF, errno.EINVAL) or not os.path.isdir(path):
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def make_files_private() -> Iterator[None]:
    """Let only their owner read files that the process makes inside the context."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file atomically."""
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_npz(path: str | os.PathLike, arrays: Mapping[str, Any], *, compressed: bool = False) -> None:
    """Write arrays as .npz atomically, without pickle."""
    whole = io.BytesIO()  # NumPy leaves an archive that it could not write to the end open, and complains later
    (np.savez_compressed if compressed else np.savez)(whole, **{name: np.asarray(a) for name, a in arrays.items()})
    with write_atomically(path) as temporary:
        temporary.write_bytes(whole.getbuffer())


def read_npz(
    path: str | os.PathLike, *, required: Sequence[str] = (), texts: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Return all arrays of an .npz file by name, and never unpickle.

    Args:
      path: the file.
      required: names of arrays of numbers that the file must have.
      texts: names of arrays of any kind that the file must have.

    Raises:
      InputError: no such file, a damaged or foreign file, or one without the wanted arrays.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(path, found="no such file", expected="an .npz file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # damaged members raise BadZipFile, EOFError, ValueError, zlib.error and more
        raise InputError(path, found=f"a damaged file ({error})", expected="a readable .npz file") from error
    missing = [name for name in (*required, *texts) if name not in arrays]
    if missing:
        raise InputError(path, found=f"arrays {sorted(arrays)}", expected=f"also {missing}")
    for name in required:
        if arrays[name].dtype.kind not in "biuf":
            raise InputError(path, found=f"{name} of {arrays[name].dtype}", expected="numbers")
    return arrays


def write_json(path: str | os.PathLike, values: Any) -> None:
    """Write readable JSON atomically."""
    write_text(path, format_json(values))


def format_json(values: Any) -> str:
    """Return values as the text that `write_json` writes."""
    return json.dumps(values, indent=2, sort_keys=True) + "\n"


def read_json(path: str | os.PathLike) -> Any:
    """Return the values of a JSON file.

    Raises:
      InputError: a file that is damaged.
    """
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(path, found=f"no JSON ({error})", expected="the file as it was written") from None


def digest_json(values: Any) -> str:
    """Return the SHA-256 of values as JSON, in hexadecimal. The order of keys does not matter."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def digest_file(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    found = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def write_sums(folder: pathlib.Path, files: Iterable[pathlib.Path]) -> None:
    """Write the checksums of files below a folder to its `SUMS`, as `sha256sum -c` reads them."""
    lines = (f"{digest_file(file)}  {file.relative_to(folder)}\n" for file in sorted(files))
    write_text(folder / SUMS, "".join(lines))


def digest_files(paths: Iterable[str | os.PathLike]) -> str:
    """Return one digest of several files, whatever their names and order; that of one file is its `digest_file`."""
    digests = sorted(digest_file(path) for path in paths)
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def append_rows(
    path: pathlib.Path, heading: Sequence[str], rows: Sequence[Sequence[Any]], *, survives: bool = False
) -> None:
    """Add rows to a CSV; a new one begins with the heading, and a row that was cut short ends where it was cut.

    Args:
      path: the table.
      heading: names of the columns.
      rows: values in the order of the columns.
      survives: whether the rows have to be on the disk when this returns, so that a power cut cannot lose them.
    """
    new = not path.exists() or not path.stat().st_size
    with open(path, "a", newline="", encoding="utf-8") as file:
        if not new and _is_cut_short(path):
            file.write("\n")
        csv.writer(file).writerows(map(_in_one_line, [heading, *rows] if new else rows))
    if survives:
        sync_to_disk(path)
        if new:
            sync_to_disk(path.parent)


def _in_one_line(row: Sequence[Any]) -> list[Any]:
    return [" ".join(value.split()) if isinstance(value, str) else value for value in row]


def _is_cut_short(path: pathlib.Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def read_rows(path: pathlib.Path) -> list[list[str]]:
    """Return the rows of a CSV that `append_rows` wrote, without its heading; none where there is no file.

    Every line is read as a row of its own: one that was cut short within quotation marks does not swallow the rows
    after it. Bytes that are no text become U+FFFD.
    """
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        lines = list(file)[1:]
    return [row for line in lines for row in csv.reader([line])]
