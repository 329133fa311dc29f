"""How the library says that its input is wrong, or that it has to stop."""

from __future__ import annotations

from collections.abc import Sequence


def listed(names: Sequence[str], *, shown: int = 8) -> str:
    """Names for a message, at most so many of them."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


class InputError(ValueError):
    """Bad input: names the argument or file, what was found there and what was expected.

    Commands print the message as a single line and exit with status 2. A message alone is taken too, as Keras makes
    the error anew when it passes through a layer.
    """

    def __init__(self, subject: object, *, found: object = None, expected: object = None):
        message = str(subject) if found is None else f"{subject}: found {found}; expected {expected}"
        super().__init__(message)


class RunStopped(RuntimeError):
    """A run that cannot go on through no fault of its input, such as on a full disk; says what is kept.

    Commands print the message as a single line and exit with status 1.
    """
