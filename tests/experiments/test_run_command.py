"""A command run inside the test's process behaves as the same command in a process of its own, and leaves no trace."""

import re
import sys

import pytest
from absl import flags, logging

from tests.experiments.commands import command_flags, run_command, run_process


def without_room(result):
    """Drop the free space on the disk, which changes from one moment to the next."""
    return result._replace(stdout=re.sub(r"; .* free\n", "\n", result.stdout))


@pytest.mark.parametrize(
    ("name", "arguments", "status"),
    [
        ("single_site", ["--help"], 0),
        ("single_site", ["--dry_run", "--dataset=ct20"], 0),
        ("federated", ["--gan_batch=0"], 2),
    ],
    ids=["help", "dry run", "bad input"],
)
def test_a_process_prints_the_same(name, arguments, status, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run_command(name, *arguments)
    assert found.status == status
    assert without_room(found) == without_room(run_process(name, *arguments))


def state():
    defined = {name: (flags.FLAGS[name].value, flags.FLAGS[name].present) for name in flags.FLAGS}
    printer = logging.get_absl_handler().python_handler
    modules = {name: module for name, module in sys.modules.items() if name.startswith("experiments")}
    return defined, modules, logging.get_verbosity(), printer.stream, printer.formatter, sys.argv, sys.stderr


def test_nothing_of_a_command_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = state()
    assert run_command("single_site", "--dry_run", "--dataset=ct20").status == 0
    assert state() == before


def test_flags_of_one_call_are_not_those_of_the_next():
    with command_flags("single_site", "--gan_steps=7") as command:
        assert command.config_from_flags().gan.steps == 7
    with command_flags("single_site") as command:
        assert command.config_from_flags().gan.steps != 7
    with command_flags("slices", "--images=a", "--labels=b"):
        assert "method" not in flags.FLAGS
        assert flags.FLAGS.images == "a"


def test_a_bug_is_not_hidden(monkeypatch):
    def break_down(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr("experiments.command.make_config", break_down)
    with pytest.raises(RuntimeError, match="a bug"):
        run_command("single_site", "--dry_run")
