"""Run a command of `experiments` inside the test's own process, as if a process of its own had been started for it.

Starting a process and importing TensorFlow there takes seconds; this takes none. What only a real process can show (the
order of imports, what native libraries print) is for the few tests that call `run_process`.
"""

import contextlib
import copy
import importlib
import io
import logging as standard_logging
import os
import pathlib
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import NamedTuple

import pytest
from absl import app, flags, logging

app.define_help_flags()  # absl does it once in a process: here, so that every command finds them
ROOT = pathlib.Path(__file__).resolve().parents[2]
# These define flags only when they are called; with coverage, importing them anew takes half of a start's time.
SHARED = ("experiments.command", "experiments.command_names")


class CommandResult(NamedTuple):
    """The exit status of a command and what it wrote."""

    status: int
    stdout: str
    stderr: str


def run_command(name: str, *arguments: str) -> CommandResult:
    """Run `python -m experiments.NAME ARGUMENTS...` in this process and in the current folder.

    The command's module is imported anew and its flags are its own. Flags, logging and streams are as before when it
    has ended. Modules of `fedsim_tf` are shared with the test, so a test may replace what the command calls.

    Raises:
      Exception: whatever the command does not handle; in a process that would be a traceback.
    """

    def start() -> None:
        runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)

    return _run(start, name, *arguments)


def run_fedsim(*arguments: str) -> CommandResult:
    """Run `fedsim ARGUMENTS...` as `run_command` runs a module."""
    return _run(
        lambda: importlib.import_module("experiments.fedsim").start_command(), "/somewhere/bin/fedsim", *arguments
    )


def _run(start: Callable[[], None], *argv: str) -> CommandResult:
    stdout, stderr, status = io.StringIO(), io.StringIO(), None
    with _fresh_state(), contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        logging.get_absl_handler().python_handler.setStream(stderr)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", list(argv))
            try:
                start()
            except SystemExit as stopped:
                status = stopped.code
    return CommandResult(status or 0, stdout.getvalue(), stderr.getvalue())


@contextlib.contextmanager
def command_flags(name: str, *arguments: str) -> Iterator[ModuleType]:
    """Give the module `experiments.command` with the flags of one command parsed and nothing run."""
    with _fresh_state():
        importlib.import_module(f"experiments.{name}")
        flags.FLAGS([name, *arguments])
        yield importlib.import_module("experiments.command")


def run_process(name: str, *arguments: str, **variables: str) -> CommandResult:
    """Run the command in a process of its own, in the current folder and with these variables in its environment."""
    found = subprocess.run(
        [sys.executable, "-m", f"experiments.{name}", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return CommandResult(found.returncode, found.stdout, found.stderr)


@contextlib.contextmanager
def _fresh_state() -> Iterator[None]:
    """Hide every flag and command of `experiments` from the block; put back flags, modules and logging afterwards."""
    with _fresh_modules(), _fresh_flags(), _kept_logging():
        yield


@contextlib.contextmanager
def _fresh_modules() -> Iterator[None]:
    before = _pop_commands()
    try:
        yield
    finally:
        _pop_commands()
        sys.modules.update(before)


def _pop_commands() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name.startswith("experiments.") and name not in SHARED]
    return {name: sys.modules.pop(name) for name in names}


@contextlib.contextmanager
def _fresh_flags() -> Iterator[None]:
    """Hide the flags of commands from the block; every flag has its default there.

    absl keeps all flags of a process in one object, so what is kept and put back is the content of that object.
    """
    before = dict(flags.FLAGS.__dict__)
    flags.FLAGS.__dict__.update(copy.deepcopy(before))
    for module, defined in list(flags.FLAGS.flags_by_module_dict().items()):
        if module.partition(".")[0] == "experiments":
            flags.FLAGS.remove_flag_values([flag.name for flag in defined])
    flags.FLAGS.unparse_flags()
    for flag in list(flags.FLAGS):
        flags.FLAGS[flag].unparse()
    try:
        yield
    finally:
        flags.FLAGS.__dict__.update(before)


@contextlib.contextmanager
def _kept_logging() -> Iterator[None]:
    loggers = [standard_logging.getLogger(), logging.get_absl_logger()]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    verbosity, printer = logging.get_verbosity(), logging.get_absl_handler().python_handler
    stream, formatter = printer.stream, printer.formatter
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        printer.setStream(stream)
        printer.setFormatter(formatter)
        for logger, level, handlers in before:
            logger.setLevel(level)
            logger.handlers[:] = handlers
