"""Which commands there are, and how messages name them: as the user has typed the command that is running."""

from __future__ import annotations

import ast
import pathlib
import re
import sys

_FOLDER = pathlib.Path(__file__).parent
_NO_COMMANDS = ("__init__", "command", "command_names", "fedsim")


def list_commands() -> list[str]:
    """Return the names of all commands, such as "single_site", in alphabetical order."""
    return sorted(file.stem for file in _FOLDER.glob("*.py") if file.stem not in _NO_COMMANDS)


def summarize_command(name: str) -> str:
    """Return the first line of a command's docstring. The command is read, not imported: that would take seconds."""
    source = (_FOLDER / f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def name_commands(text: str) -> str:
    """Return a text in which commands are named as typed.

    The library and docstrings write `experiments.segment` or `python -m experiments.segment`. That becomes
    `fedsim segment` where the running command was started so.
    """
    return _COMMAND.sub(r"fedsim \1", text) if "experiments.fedsim" in sys.modules else text


_COMMAND = re.compile(rf"(?:python -m )?(?<![\w/.-])experiments\.({'|'.join(list_commands())})(?![\w/-])")
