"""Checks of the arguments that layers and networks are made with."""

from __future__ import annotations

import numbers

from fedsim_tf.errors import InputError


def check_counts(**counts: int) -> None:
    """Refuse counts, such as channels, that are not whole numbers of at least one.

    Args:
      counts: each count under the name of its argument.

    Raises:
      InputError: names the first such argument.
    """
    for name, count in counts.items():
        if not _is_whole(count) or count < 1:
            raise InputError(name, found=repr(count), expected="a whole number, at least 1")


def check_seed(seed: int) -> None:
    """Refuse a seed that is not a whole number.

    Raises:
      InputError: names what was given instead.
    """
    if not _is_whole(seed):
        raise InputError("seed", found=repr(seed), expected="a whole number")


def _is_whole(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
