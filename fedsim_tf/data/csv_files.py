"""Small CSV files that people write by hand: spaces, empty rows and # comments do not count."""

from __future__ import annotations

import csv
import os
import pathlib
from typing import NamedTuple

from fedsim_tf.errors import InputError


class CsvRow(NamedTuple):
    """A row's cells, stripped, and the file and line where it stands, for messages."""

    where: str
    cells: list[str]


def read_csv(path: str | os.PathLike) -> list[CsvRow]:
    """Return the rows of a CSV file, which may begin with a byte order mark.

    Raises:
      InputError: no such file, a file that is not text, or a line that is not CSV.
    """
    try:
        text = pathlib.Path(path).read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        found = f"bytes that are no UTF-8 in line {line}, as of a file that was saved as Latin-1 or UTF-16"
        expected = 'a CSV file in UTF-8: save it again as "CSV UTF-8", or convert it with iconv -f latin1 -t utf-8'
        raise InputError(path, found=found, expected=expected) from None
    except OSError as error:
        raise InputError(path, found=f"an unreadable file ({type(error).__name__})", expected="a CSV file") from None
    return parse_csv(text, str(path))


def parse_csv(text: str, subject: str) -> list[CsvRow]:
    """Return the rows of a CSV text.

    Args:
      text: the lines.
      subject: the file, for messages.

    Raises:
      InputError: a line that is not CSV.
    """
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{subject}, line {number}"
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                cells = [cell.strip() for cell in next(csv.reader([line]))]
            except csv.Error as error:
                raise InputError(where, found=f"{line[:40]!r} ({error})", expected="comma-separated values") from None
            rows += [CsvRow(where, cells)] if any(cells) else []
    return rows
