"""Errors for bad input and for runs that have to stop, each with a message of one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from absl import logging


def listed(names: Sequence[str], *, shown: int = 8) -> str:
    """Return names separated by commas, at most `shown` of them, and how many more there are."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


class InputError(ValueError):
    """Bad input, with a message that names it, says what was found there and what to do.

    Commands print the message as one line and exit with status 2. They replace a subject that is a field of the
    configuration, such as `gan.steps`, or an argument of theirs by the flag that the user types.

    The message is "subject: found ...; expected ..." for files and other things that are looked into, and
    "subject is ...; it must ..." for values that were given. A subject alone is taken as the whole message, as Keras
    raises an error anew from its text when the error passes through a layer.

    Args:
      subject: the argument, the field of the configuration or the file.
      found: what is there.
      expected: what should be there, or what to do.
      value: the value that was given.
      must: what has to hold of the value, such as "be at least 1".

    Attributes:
      subject: the first part of the message.
    """

    def __init__(
        self,
        subject: object,
        *,
        found: object = None,
        expected: object = None,
        value: object = None,
        must: str | None = None,
    ):
        self.subject, self._rest = str(subject), ""
        if must is not None:
            self._rest = f" is {value}; it must {must}"
        elif found is not None:
            self._rest = f": found {found}; expected {expected}"
        super().__init__(self.subject + self._rest)

    def with_subject(self, subject: object) -> InputError:
        """Return the same error about a subject of another name."""
        error = InputError(subject)
        error._rest = self._rest
        error.args = (error.subject + self._rest,)
        return error


def raise_error(error: Exception) -> None:
    """Raise an error, where a function takes another way to deal with it too."""
    raise error


@contextlib.contextmanager
def naming(subject: object) -> Iterator[None]:
    """Put a file's name before the message of every `InputError` that is raised inside the context."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{subject}: {error}") from None


class Refusals:
    """Collects the errors of several files or cases, so that the user sees all of them at once.

    Args:
      subject: what the cases are part of, such as the data set.
    """

    def __init__(self, subject: object):
        self._subject = subject
        self._errors: list[InputError] = []

    def add(self, error: InputError) -> None:
        """Add the error of one case."""
        self._errors.append(error)

    @contextlib.contextmanager
    def each(self) -> Iterator[None]:
        """Add an `InputError` that is raised inside the context instead of letting it pass."""
        try:
            yield
        except InputError as error:
            self.add(error)

    @property
    def lines(self) -> list[str]:
        """Return what is said of each error that was added."""
        return [str(error) for error in self._errors]

    def check(self) -> None:
        """Raise if an error was added. If there are several, log each of them first.

        Raises:
          InputError: the only error that was added, or how many there are and the first of them.
        """
        if len(self._errors) == 1:
            raise self._errors[0]
        for error in self._errors:
            logging.error("%s", error)
        if self._errors:
            found, first = f"{len(self._errors)} cases that cannot be used", self._errors[0]
            raise InputError(self._subject, found=found, expected=f"none; the first: {first}")


class RunStopped(RuntimeError):
    """A run that cannot go on through no fault of its input, for example on a full disk.

    The message says what is kept. Commands print it as one line and exit with status 1.
    """
