"""The division of CHD68 into the paper's two sites, from a CSV file that users may edit."""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Sequence
from typing import NamedTuple

from fedsim_tf.data.csv_files import CsvRow, parse_csv, read_csv
from fedsim_tf.errors import InputError, listed

SITES = ("ct34lc", "ct34mc")
KEYS = ("id", "position")
SHIPPED = "chd68_division.csv"


class Division(NamedTuple):
    """The site of each patient, by patient number or by position among the ascending patient numbers.

    Attributes:
      subject: the file, for messages.
      key: "id" or "position".
      sites: patient number, or position from 1, to site.
    """

    subject: str
    key: str
    sites: dict[int, str]

    def select_members(self, numbers: Sequence[int], site: str) -> list[int]:
        """Return the patient numbers of one site.

        Args:
          numbers: the numbers of all patients found.
          site: "ct34lc" or "ct34mc".

        Raises:
          InputError: a division by position of another number of patients than were found; a division by number with
            patients of this site that were not found.
        """
        ordered = sorted(numbers)
        if self.key == "id":
            return self._select_by_number(ordered, site)
        if len(ordered) != len(self.sites):
            raise InputError(
                self.subject,
                found=f"{len(ordered)} patients for a division by position",
                expected=f"all {len(self.sites)} patients of CHD68, or a division of your own with columns id,site",
            )
        return [number for position, number in enumerate(ordered, 1) if self.sites[position] == site]

    def _select_by_number(self, found: list[int], site: str) -> list[int]:
        wanted = sorted(number for number, where in self.sites.items() if where == site)
        missing = [str(number) for number in wanted if number not in set(found)]
        if missing:
            raise InputError(
                self.subject, found=f"no files for {listed(missing)}", expected=f"files of every patient of {site}"
            )
        return wanted


def read_division(path: str | os.PathLike | None = None) -> Division:
    """Return the division in a file, or the one that ships with the project where `path` is None.

    The file is CSV with the header `id,site` or `position,site`; lines that begin with # are comments.

    Raises:
      InputError: no such file, a bad header, or, with its line number, a bad row, an unknown site or a patient given
        twice.
    """
    if path is not None:
        return _build_division(read_csv(path), str(path))
    return parse_division(importlib.resources.files("fedsim_tf.data").joinpath(SHIPPED).read_text("utf-8"), SHIPPED)


def parse_division(text: str, subject: str) -> Division:
    """Return the division that a CSV text holds; see `read_division`."""
    return _build_division(parse_csv(text, subject), subject)


def _build_division(rows: list[CsvRow], subject: str) -> Division:
    if not rows or rows[0].cells not in [[key, "site"] for key in KEYS]:
        found = ",".join(rows[0].cells) if rows else "no rows"
        raise InputError(subject, found=found, expected="the header id,site or position,site")
    key = rows[0].cells[0]
    sites: dict[int, str] = {}
    for row in rows[1:]:
        _add_row(sites, row, key)
    if key == "position" and sorted(sites) != list(range(1, len(sites) + 1)):
        raise InputError(subject, found="positions with gaps", expected=f"1 to {len(sites)}")
    return Division(subject, key, sites)


def _add_row(sites: dict[int, str], row: CsvRow, key: str) -> None:
    where, cells = row
    if len(cells) != 2 or not (cells[0].isascii() and cells[0].isdigit()):
        raise InputError(where, found=repr(",".join(cells)), expected=f"a whole number and a site: {key},site")
    if cells[1] not in SITES:
        raise InputError(where, found=f"site {cells[1]!r}", expected=f"one of {', '.join(SITES)}")
    if int(cells[0]) in sites:
        raise InputError(where, found=f"{key} {cells[0]} a second time", expected=f"every {key} once")
    sites[int(cells[0])] = cells[1]
