"""The console command `fedsim`: `fedsim segment --help` is `python -m experiments.segment --help`."""

from __future__ import annotations

import runpy
import sys

from experiments.command_names import list_commands, summarize_command


def start_command() -> None:
    """Run the command that the command line names, as `python -m` would run it."""
    name, *arguments = sys.argv[1:] or [""]
    if name in ("-h", "--help"):
        print(_describe())
    elif name == "--version":
        from fedsim_tf import __version__

        print(__version__)
    elif name in list_commands():
        sys.argv[1:] = arguments
        runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)
    else:
        _refuse(name)


def _describe() -> str:
    commands = list_commands()
    width = max(map(len, commands))
    return "\n".join(
        (
            "Learn to simulate labelled CTs from few labels, at one hospital or across several.",
            "",
            "fedsim COMMAND [--flag=value ...]",
            "fedsim COMMAND --help    all flags of a command",
            "fedsim --version",
            "",
            *(f"{name:<{width}}  {summarize_command(name)}" for name in commands),
        )
    )


def _refuse(name: str) -> None:
    from experiments.command import stop
    from fedsim_tf.errors import InputError

    must = f"be one of {', '.join(list_commands())} (--help describes them)"
    stop(str(InputError("command", value=name or "not given", must=must)), status=2)
