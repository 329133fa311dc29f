"""Small CSV files that people write by hand: spaces, empty rows and # comments do not count."""

from __future__ import annotations

import csv
import os
import pathlib
from typing import NamedTuple

from fedsim_tf.errors import InputError


class CsvRow(NamedTuple):
    """A row's cells, stripped, and where it stands: file and line."""

    where: str
    cells: list[str]


def read_text(path: str | os.PathLike) -> str:
    """The file's text, with or without a byte order mark.

    Raises:
      InputError: no such file, or not text.
    """
    try:
        return pathlib.Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, found=f"an unreadable file ({type(error).__name__})", expected="a CSV file") from None


def rows_of(text: str, subject: str) -> list[CsvRow]:
    """The rows of a CSV text.

    Args:
      subject: the file, as messages name it.

    Raises:
      InputError: a line that is no CSV.
    """
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{subject}, line {number}"
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                cells = [cell.strip() for cell in next(csv.reader([line]))]
                rows += [CsvRow(where, cells)] if any(cells) else []
            except csv.Error as error:
                raise InputError(where, found=f"{line[:40]!r} ({error})", expected="comma-separated values") from None
    return rows
