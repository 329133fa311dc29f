"""Region ids, and how each data set's own label values become them."""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from fedsim_tf.errors import InputError, listed

REGIONS = {
    1: "left ventricle",
    2: "right ventricle",
    3: "left atrium",
    4: "right atrium",
    5: "myocardium",
    6: "aorta",
    7: "pulmonary artery",
}
_IDENTITY = {0: 0, **{region: region for region in REGIONS}}


@dataclasses.dataclass(frozen=True)
class LabelMap:
    """A data set's label values.

    Attributes:
      name: of the data set, for messages.
      tables: file value to region id; the first that knows every value of a file is used.
      others_are_background: whether values that no table knows become 0; otherwise they are an error.
      binary: whether a file with a single value beside 0 is taken as heart or not, heart becoming 1.
    """

    name: str
    tables: tuple[dict[int, int], ...]
    others_are_background: bool = False
    binary: bool = False

    def apply(self, values: np.ndarray, subject: str | os.PathLike) -> np.ndarray:
        """Region ids 0..7.

        Args:
          values: label values of any shape.
          subject: what they were read from, for messages.

        Returns:
          uint8, same shape.

        Raises:
          InputError: values that are not integers, or that this data set does not know; they are listed.
        """
        integers = _as_integers(values, subject)
        present = _present(integers)
        table = self._table(present, subject)
        lookup = np.array([table.get(int(value), 0) for value in present], np.uint8)
        if present[-1] - present[0] < 1 << 16:
            dense = np.zeros(int(present[-1] - present[0]) + 1, np.uint8)
            dense[present - present[0]] = lookup
            return dense[integers - present[0]]
        return lookup[np.searchsorted(present, integers)]

    def _table(self, present: np.ndarray, subject: str | os.PathLike) -> dict[int, int]:
        unknown = [[int(value) for value in present if int(value) not in table] for table in self.tables]
        best = min(range(len(self.tables)), key=lambda index: len(unknown[index]))
        if not unknown[best] or self.others_are_background:
            return self.tables[best]
        foreground = present[present != 0]
        if self.binary and len(foreground) == 1:
            return {0: 0, int(foreground[0]): 1}
        expected = " or ".join("{" + ", ".join(map(str, sorted(table))) + "}" for table in self.tables)
        raise InputError(
            subject,
            found=f"unknown label values {_listed(unknown[best])}",
            expected=f"values of {self.name}: {expected}",
        )


MMWHS = LabelMap(
    "MM-WHS",
    # 421 is a slip in the published files, known to mean 420. Some mirrors ship the labels as 1 to 7 already.
    ({0: 0, 500: 1, 600: 2, 420: 3, 421: 3, 550: 4, 205: 5, 820: 6, 850: 7}, _IDENTITY),
)
CHD68 = LabelMap("CHD68", (_IDENTITY,), others_are_background=True)  # others: airways (14) and the like
CANONICAL = LabelMap("region ids", (_IDENTITY,), binary=True)
ANY_SITE = LabelMap("region ids or MM-WHS", (_IDENTITY, *MMWHS.tables[:1]), binary=True)


def heart_mask(label: np.ndarray) -> np.ndarray:
    """Heart or not: the paper's binary labels from region ids."""
    return label > 0


def merge_masks(masks: dict[int, np.ndarray]) -> np.ndarray:
    """One label volume (uint8) from a mask per region id; where masks overlap the higher id wins."""
    merged = np.zeros(next(iter(masks.values())).shape, np.uint8)
    for region in sorted(masks):
        merged[masks[region] > 0] = region
    return merged


def _as_integers(values: np.ndarray, subject: str | os.PathLike) -> np.ndarray:
    if values.dtype.kind in "iub":
        return values.astype(np.int64) if values.dtype.itemsize > 2 else values.astype(np.int32)
    integers = np.zeros(values.shape, np.int64)
    finite = np.isfinite(values) & (np.abs(values) < 2**53)
    integers[finite] = values[finite].astype(np.int64)
    if not np.array_equal(integers, values):
        wrong = np.unique(values[integers != values])
        raise InputError(subject, found=f"label values {_listed(wrong)}", expected="whole numbers")
    return integers


def _present(integers: np.ndarray) -> np.ndarray:
    """The distinct values in ascending order; a table of flags is many times faster than sorting a volume."""
    low, high = int(integers.min()), int(integers.max())
    if high - low >= 1 << 16:
        return np.unique(integers)
    seen = np.zeros(high - low + 1, bool)
    seen[integers - low] = True
    return np.flatnonzero(seen) + low


def _listed(values: list[int] | np.ndarray) -> str:
    return listed([f"{value:g}" for value in values], shown=10)
