"""The one way in which the library says that its input is wrong."""


class InputError(ValueError):
    """Bad input: names the argument or file, what was found there and what was expected.

    Commands print the message as a single line and exit with status 2.
    """

    def __init__(self, subject: object, *, found: object, expected: object):
        self.subject, self.found, self.expected = str(subject), str(found), str(expected)
        super().__init__(f"{subject}: found {found}; expected {expected}")
