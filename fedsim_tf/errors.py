"""How the library says that its input is wrong, or that it has to stop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from absl import logging


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


@contextlib.contextmanager
def naming(subject: object) -> Iterator[None]:
    """Says of what is refused within in which file it was."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{subject}: {error}") from None


class Refusals:
    """Collects what is wrong with several things, so that all of it is said at once.

    Args:
      subject: what they are parts of.
    """

    def __init__(self, subject: object):
        self._subject = subject
        self._errors: list[InputError] = []

    def add(self, error: InputError) -> None:
        """One of them is refused."""
        self._errors.append(error)

    @contextlib.contextmanager
    def each(self) -> Iterator[None]:
        """Within it an `InputError` is added instead of raised."""
        try:
            yield
        except InputError as error:
            self.add(error)

    def check(self) -> None:
        """Raises what was refused; of several, each is in the log.

        Raises:
          InputError: the only one, or how many there are.
        """
        if len(self._errors) == 1:
            raise self._errors[0]
        for error in self._errors:
            logging.error("%s", error)
        if self._errors:
            found, first = f"{len(self._errors)} cases that cannot be used", self._errors[0]
            raise InputError(self._subject, found=found, expected=f"none; the first: {first}")


class RunStopped(RuntimeError):
    """A run that cannot go on through no fault of its input, such as on a full disk; says what is kept.

    Commands print the message as a single line and exit with status 1.
    """
