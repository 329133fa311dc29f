"""A dry run refuses whatever the run would refuse: the same line, the same status, before anything is built."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.experiments.commands import ROOT, run_command
from tests.experiments.wrong_starts import TABLE, make_files


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("wrong_starts")
    make_files(root)
    return root


def last_line(found):
    return found.stderr.strip().splitlines()[-1]


def everything_in(root):
    """Return every file but those of the cache, which a dry run may fill as the run would."""
    return sorted(str(path) for path in root.rglob("*") if "cache" not in path.relative_to(root).parts)


@pytest.mark.parametrize("start", TABLE, ids=lambda start: " ".join((start.command, *start.flags[-2:])))
def test_run_and_dry_run_say_the_same(start, files, monkeypatch):
    monkeypatch.chdir(files)
    before = everything_in(files)
    dry = run_command(start.command, *start.flags, "--dry_run")
    assert dry.status == 2, dry
    for words in start.words:
        assert words in last_line(dry)
    assert "Traceback" not in dry.stderr
    run = run_command(start.command, *start.flags)
    assert (run.status, last_line(run)) == (dry.status, last_line(dry))
    assert everything_in(files) == before


def test_tensorflow_is_not_imported_where_a_check_does_not_compute(files):
    """All dry runs of the table in a process in which TensorFlow cannot be imported."""
    found = subprocess.run(
        [sys.executable, "-m", "tests.experiments.wrong_starts", str(files)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    said = {number: (status, lines[0]) for number, status, lines in map(json.loads, found.stdout.splitlines())}
    for number, start in enumerate(TABLE):
        if not start.needs_tensorflow:
            status, line = said[number]
            assert status == 2, (start, line)
            assert all(words in line for words in start.words), (start, line)


def test_every_command_has_wrong_starts_and_a_dry_run():
    others = {"__init__", "command", "command_names", "fedsim"}
    commands = {file.stem for file in pathlib.Path(ROOT / "experiments").glob("*.py")} - others
    assert {start.command for start in TABLE} == commands
