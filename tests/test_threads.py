"""Small volumes take one thread an operation, others what TensorFlow or the user chooses."""

import os

import pytest

from fedsim_tf.config import make_config
from fedsim_tf.threads import VARIABLE, settle_threads
from tests.experiments.commands import run_command


@pytest.mark.parametrize(
    ("preset", "given", "wanted"),
    [("demo", None, "1"), ("demo", "3", "3"), ("small", None, None), ("small", "3", "3"), ("paper", None, None)],
)
def test_threads_of_an_operation(preset, given, wanted, monkeypatch):
    set_variable(monkeypatch, given)
    settle_threads(make_config(preset).model.size)
    assert os.environ.get(VARIABLE) == wanted


@pytest.mark.parametrize(("preset", "wanted"), [("demo", "1"), ("small", None)])
@pytest.mark.parametrize("command", ["single_site", "federated", "ablation"])
def test_a_command_settles_them_before_it_opens_its_run(command, preset, wanted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    set_variable(monkeypatch, None)
    found = []

    def open_run(*_, **__):
        found.append(os.environ.get(VARIABLE))
        raise ZeroDivisionError  # there is nothing more to see

    monkeypatch.setattr("fedsim_tf.runs.start.open_run", open_run)
    with pytest.raises(ZeroDivisionError):
        run_command(command, f"--preset={preset}", "--dry_run")
    assert found == [wanted]


def set_variable(monkeypatch, value):
    """Give the variable a value, or none; afterwards it has the one of before."""
    monkeypatch.setenv(VARIABLE, value or "")
    if value is None:
        monkeypatch.delenv(VARIABLE)
