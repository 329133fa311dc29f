"""Label schemes: how the label values of a data set become region ids."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

import numpy as np

from fedsim_tf.data.remarks import warn
from fedsim_tf.errors import InputError, listed
from fedsim_tf.label_values import parse_label_values
from fedsim_tf.regions import ID_VALUES, LV, MMWHS_VALUES, REGIONS

_MOST_TABLE_ENTRIES = 1 << 16
_MOST_STRUCTURES = 256  # distinct values of a label map of the whole body, and far fewer than a CT has
_ROUNDING = 1e-3  # of label values that were scaled or resampled as floats


@dataclasses.dataclass(frozen=True)
class LabelScheme:
    """The meaning of a data set's label values.

    Attributes:
      name: the data set's name in messages.
      tables: mappings of label value to region id; the first one that knows every value of a file is used.
      others_are_background: whether values that no table knows become 0; otherwise they are refused.
      binary: whether a file with a single value beside 0 tells heart from background; the heart becomes region 1.
      most_values: more different values are those of a CT or picture, where others are background.
    """

    name: str
    tables: tuple[Mapping[int, int], ...]
    others_are_background: bool = False
    binary: bool = False
    most_values: int = dataclasses.field(default=_MOST_STRUCTURES, repr=False)

    def apply(self, values: np.ndarray, subject: str | os.PathLike) -> np.ndarray:
        """Return the region ids of label values.

        Args:
          values: label values of any shape.
          subject: the file that they come from, for messages.

        Returns:
          uint8, the same shape.

        Some of a table's values without the others are warned of: they may belong to another scheme.

        Raises:
          InputError: values that are not whole numbers or that this data set does not know; the message lists them.
        """
        integers = _convert_to_integers(values, subject)
        present = _find_present(integers)
        table = self._choose_table(present, subject)
        self._warn_of_some_only(table, present, subject)
        lookup = np.array([table.get(int(value), 0) for value in present], np.uint8)
        low = int(present[0])
        if present[-1] - low < _MOST_TABLE_ENTRIES:
            dense = np.zeros(int(present[-1] - low) + 1, np.uint8)
            dense[present - low] = lookup
            return dense[integers - low if low else integers]
        return lookup[np.searchsorted(present, integers)]

    def _choose_table(self, present: np.ndarray, subject: str | os.PathLike) -> Mapping[int, int]:
        unknown = [[int(value) for value in present if int(value) not in table] for table in self.tables]
        best = min(range(len(self.tables)), key=lambda index: len(unknown[index]))
        foreground = present[present != 0]
        known = sorted(value for value, region in self.tables[best].items() if region)
        if self.others_are_background and len(present) > self.most_values:
            found = f"{len(present)} different values, as of a CT"
            raise InputError(subject, found=found, expected=f"a label map of {self.name}")
        if self.others_are_background and len(foreground) and not np.isin(foreground, known).any():
            found = f"label values {_list_values(present)}"
            raise InputError(subject, found=found, expected=f"some of {_list_values(known)}, as {self.name} says")
        if not unknown[best] or self.others_are_background:
            return self.tables[best]
        if self.binary and len(foreground) == 1:
            return {0: 0, int(foreground[0]): 1}
        expected = " or ".join("{" + ", ".join(map(str, sorted(table))) + "}" for table in self.tables)
        raise InputError(
            subject,
            found=f"unknown label values {_list_values(unknown[best])}",
            expected=f"values of {self.name}: {expected}",
        )

    def _warn_of_some_only(self, table: Mapping[int, int], present: np.ndarray, subject: str | os.PathLike) -> None:
        """Warn of a file with some of the regions: heart, aorta and pulmonary artery as 1, 2, 3 look like chambers."""
        found = {table[int(value)]: int(value) for value in present if table.get(int(value), 0)}
        regions = {region for region in table.values() if region}
        if len(found) == len(regions) or (self.binary and found == {LV: 1}):
            return
        text = "%s has only some of the regions of %s: %s; say with data.label_values if its values mean something else"
        meant = [f"{value} taken for {REGIONS[region].title}" for region, value in sorted(found.items())]
        warn(text, subject, self.name, listed(meant))


def make_scheme(text: str) -> LabelScheme:
    """Return the label scheme that a user gave as text such as "lv:1,rv:2"; see `parse_label_values`.

    Raises:
      InputError: text that names no scheme.
    """
    table = {0: 0, **parse_label_values(text, "data.label_values")}
    return LabelScheme(f"data.label_values={text}", (table,), others_are_background=True)


MMWHS = LabelScheme("MM-WHS", (MMWHS_VALUES, ID_VALUES))  # some mirrors hold region ids already
CHD68 = LabelScheme("CHD68", (ID_VALUES,), others_are_background=True)  # the others are airways (14) and the like
CANONICAL = LabelScheme("region ids", (ID_VALUES,), binary=True)
ANY_SITE = LabelScheme("region ids or MM-WHS", (ID_VALUES, MMWHS_VALUES), binary=True)


def heart_mask(label: np.ndarray) -> np.ndarray:
    """Return the paper's binary label of region ids: whether a voxel belongs to the heart."""
    return label > 0


def parse_mask(values: np.ndarray, subject: str | os.PathLike) -> np.ndarray:
    """Return whether each voxel of a file with one structure belongs to it.

    Args:
      values: 0 and one other value, of any shape.
      subject: the file, for messages.

    Raises:
      InputError: values between 0 and 1, as of a soft mask, or several values beside 0.
    """
    integers = _convert_to_integers(values, subject)
    beside = [int(value) for value in _find_present(integers) if value]
    if len(beside) > 1 or min(beside, default=1) < 0:
        raise InputError(subject, found=f"values {_list_values(beside)}", expected="a mask: 0 and one other value")
    return integers != 0


def merge_masks(masks: Mapping[int, np.ndarray]) -> np.ndarray:
    """Return one label volume (uint8) from a mask per region id; where masks overlap, the higher id wins."""
    merged = np.zeros(next(iter(masks.values())).shape, np.uint8)
    for region in sorted(masks):
        merged[masks[region] > 0] = region
    return merged


def _convert_to_integers(values: np.ndarray, subject: str | os.PathLike) -> np.ndarray:
    if values.dtype in (np.uint8, np.uint16):
        return values  # the usual types of label maps: a copy of a whole CT's takes as long as its check
    if values.dtype.kind in "iub":
        return values.astype(np.int64) if values.dtype.itemsize > 2 else values.astype(np.int32)
    integers = np.zeros(values.shape, np.int64)
    finite = np.isfinite(values) & (np.abs(values) < 2**53)
    integers[finite] = np.rint(values[finite]).astype(np.int64)
    wrong = ~finite
    wrong[finite] = np.abs(values[finite] - integers[finite]) > _ROUNDING
    if wrong.any():
        odd = np.unique(values[wrong])
        if values.min() >= 0 and values.max() <= 1:
            found, expected = f"a soft mask with values such as {odd[len(odd) // 2]:.3g}", "0 and 1: cut it at one half"
            raise InputError(subject, found=found, expected=expected)
        raise InputError(subject, found=f"label values {_list_values(odd)}", expected="whole numbers")
    return integers


def _find_present(integers: np.ndarray) -> np.ndarray:
    """Return the distinct values in ascending order; a table of flags is many times faster than sorting a volume."""
    low, high = int(integers.min()), int(integers.max())
    if high - low >= _MOST_TABLE_ENTRIES:
        return np.unique(integers)
    seen = np.zeros(high - low + 1, bool)
    seen[integers - low if low else integers] = True
    return np.flatnonzero(seen) + low


def _list_values(values: list[int] | np.ndarray) -> str:
    return listed([f"{value:g}" for value in values], shown=10)
