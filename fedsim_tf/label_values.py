"""The meaning of the values in a data set's label maps, as a user writes it: `lv:1,rv:2` or `heart:51`."""

from __future__ import annotations

import re

from fedsim_tf.errors import InputError
from fedsim_tf.regions import ALIASES, HEART


def parse_label_values(text: str, subject: str) -> dict[int, int]:
    """Return the region id of each label value.

    Several values may have one region, such as both walls of the heart. "heart" is the heart as a whole, whose region
    is 1, and goes with the great arteries alone.

    Args:
      text: names of regions with their values, `name:value` separated by commas; capitals, blanks, `-` and `_` do not
        count in names.
      subject: what the text was given as, for messages.

    Raises:
      InputError: text of another form, a name that is not known, a value that comes twice or is 0, or the heart beside
        one of its parts.
    """
    values = parse_named_values(text, subject)
    return {value: ALIASES[name] for value, name in values.items()}


def parse_named_values(text: str, subject: str) -> dict[int, str]:
    """Return the name of each label value, a key of `regions.ALIASES`; see `parse_label_values`."""
    values: dict[int, str] = {}
    for part in text.split(","):
        found = re.fullmatch(r"\s*([^:=]+?)\s*[:=]\s*(\d{1,9})\s*", part)
        if not found:
            raise InputError(subject, value=repr(text), must="be names with values, such as lv:1,rv:2 or heart:51")
        name, value = re.sub(r"[\s_-]", "", found[1].lower()), int(found[2])
        if name not in ALIASES:
            known = ", ".join(ALIASES)
            raise InputError(subject, value=repr(text), must=f"name regions, of which {found[1]!r} is none: {known}")
        if value in values or value == 0:
            must = "have no region with value 0, which is background" if value == 0 else f"have value {value} once"
            raise InputError(subject, value=repr(text), must=must)
        values[value] = name
    names = set(values.values())
    if HEART in names and len(names) > 1 and not all(name == HEART or ALIASES[name] >= 6 for name in names):
        raise InputError(subject, value=repr(text), must="have the heart as a whole or its parts, not both")
    return values
