"""The values and names that regions have in label maps that are written, as a user asks for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.label_values import parse_named_values
from fedsim_tf.regions import ALIASES, HEART, REGION_IDS, REGIONS, WHOLE_HEART

_HIGHEST = np.iinfo(np.int16).max
_HEART_STRUCTURE = "Heart"


@dataclasses.dataclass(frozen=True)
class WrittenStructure:
    """A structure of a label map.

    Attributes:
      value: its voxels' value.
      name: its short name, which `data.label_values` and dataset.json of nnU-Net know.
      structure: its full name, as in RTSTRUCT and SEG.
      colour: red, green and blue, 0 to 255.
    """

    value: int
    name: str
    structure: str
    colour: tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class WrittenLabels:
    """What values region ids become; those without a value become background.

    Attributes:
      values: by region id.
      structures: what the values stand for, by ascending value.
    """

    values: Mapping[int, int]
    structures: tuple[WrittenStructure, ...]

    def encode(self, label: np.ndarray) -> np.ndarray:
        """Return a label of region ids, of any shape, with the values of files: uint8 where they fit, else int16."""
        table = np.zeros(1 + max(REGION_IDS), np.int16)
        for region, value in self.values.items():
            table[region] = value
        return table[label].astype(np.uint8 if table.max() <= np.iinfo(np.uint8).max else np.int16)


def choose_written_labels(text: str, *, by_region: bool, subject: str) -> WrittenLabels:
    """Return the values that label maps are written with.

    Args:
      text: as `parse_label_values` takes it, such as "heart:51" or "lv:1,rv:2"; regions that it does not name become
        background, the heart as a whole has all that are not named beside it; of several values of one region the
        first is written. Empty: region ids, or 1 for the heart.
      by_region: whether labels tell regions apart, or are the heart as a whole.
      subject: what the text was given as, for messages.

    Raises:
      InputError: text of another form, regions where labels are the heart as a whole, or a value above 32767.
    """
    if not text:
        return _name_regions(
            {region: region for region in REGION_IDS} if by_region else {WHOLE_HEART: WHOLE_HEART}, by_region
        )
    named = parse_named_values(text, subject)
    if max(named) > _HIGHEST:
        raise InputError(subject, value=repr(text), must=f"have values up to {_HIGHEST}")
    if not by_region:
        if set(named.values()) != {HEART}:
            raise InputError(subject, value=repr(text), must="be the heart alone, such as heart:1, as labels are")
        return _name_regions({WHOLE_HEART: next(iter(named))}, by_region)
    heart = next((value for value, name in named.items() if name == HEART), None)
    values = dict.fromkeys(REGION_IDS, heart) if heart is not None else {}
    for value, name in reversed(named.items()):
        if name != HEART:
            values[ALIASES[name]] = value
    return _name_regions(values, by_region, heart=heart)


def _name_regions(values: Mapping[int, int | None], by_region: bool, *, heart: int | None = None) -> WrittenLabels:
    given = {region: value for region, value in sorted(values.items()) if value is not None}
    structures = {}
    for region, value in given.items():
        known = REGIONS[region]
        if by_region and value != heart:
            structures[value] = WrittenStructure(value, known.short_name, known.structure, known.rgb)
        else:
            structures.setdefault(value, WrittenStructure(value, HEART, _HEART_STRUCTURE, known.rgb))
    return WrittenLabels(given, tuple(structures[value] for value in sorted(structures)))
