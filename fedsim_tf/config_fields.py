"""Fields of the configuration: their help texts, their limits, and the check of both."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from fedsim_tf.errors import InputError


def option(default: Any, text: str, **limits: Any) -> Any:
    """Make a field with a default and a help text.

    Args:
      default: the value of the `paper` preset.
      text: the help text of the flag.
      **limits: `low` and `high` bound a number, `choices` lists the values that are allowed, `may_change` says that a
        run that is resumed may have another value, and `path` says that the value names a file or folder. `path` is a
        tuple of words that the field takes beside names of files. `before` is what was done before there was the field,
        where that is not the default.
    """
    return dataclasses.field(default=default, metadata={"help": text, **limits})


class Checked:
    """Checks the values of a dataclass against the limits of its fields, and expands `~` in paths.

    Raises:
      InputError: a value outside its limits, or a path below a home folder that the system does not know.
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if is_path_value(value, field.metadata):
                object.__setattr__(self, field.name, expand_user(value, field.name))
            self._check(field.name, value, **field.metadata)

    def _check(self, name: str, value: Any, *, low=None, high=None, choices=None, **_: Any) -> None:
        if choices is not None:
            chosen = value if isinstance(value, tuple) else (value,)
            wrong = [item for item in chosen if item not in choices]
            if wrong or not chosen:
                shown = wrong[0] if wrong else "empty"
                raise InputError(name, value=shown, must=f"be one of {', '.join(map(str, choices))}")
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(name, value=value, must="be a finite number")
        if low is not None and value < low:
            raise InputError(name, value=value, must=f"be at least {low}")
        if high is not None and value > high:
            raise InputError(name, value=value, must=f"be at most {high}")


def expand_user(path: str, subject: str) -> str:
    """Return a path with a leading `~` replaced by the user's home folder.

    Raises:
      InputError: the system knows no home folder; `subject` is what the message names.
    """
    try:
        return str(pathlib.Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError:
        raise InputError(subject, value=path, must="be a path without ~, as this user has no home folder") from None


def is_path_value(value: Any, limits: Mapping[str, Any]) -> bool:
    """Return whether the value of a field with these limits names a file or folder."""
    return "path" in limits and bool(value) and value not in limits["path"]
