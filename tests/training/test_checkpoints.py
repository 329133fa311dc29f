"""Checkpoints that are damaged, half-written or do not fit on the disk."""

import json
import logging
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.config import make_config
from fedsim_tf.errors import InputError, RunStopped
from fedsim_tf.training import checkpoints as checkpoints_module
from fedsim_tf.training.checkpoints import Checkpoints, restore_from
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.stage import read_losses, restore_stage, run_stage
from tests.training.toy_stage import ToyStage

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = make_config("demo", checkpoint_every=2)


class Counting(ToyStage):
    """Weights that say how many steps they took: 1000 numbers, each the number of the last step plus one."""

    def __init__(self):
        super().__init__()
        self.variable = tf.Variable(tf.zeros(1000))
        self.steps = []

    @property
    def objects(self):
        return {"holder": tf.train.Checkpoint(v=self.variable)}

    def step(self, index, rng):
        self.steps.append(index)
        self.variable.assign_add(tf.ones(1000))
        return {"loss": 1.0 / (index + 1)}

    def run(self, folder, steps=6):
        run_stage(RunFolder(folder, CONFIG), self, steps=steps)
        np.testing.assert_array_equal(self.variable, steps)


@pytest.fixture
def finished(tmp_path):
    Counting().run(tmp_path / "run")
    return tmp_path / "run"


def kept(run):
    return sorted(path.name for path in (run / "checkpoints" / "toy").iterdir())


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def truncate(file):
    file.write_bytes(file.read_bytes()[:-7])


def test_the_last_two_are_kept_with_sums_that_sha256sum_confirms(finished):
    assert kept(finished) == ["step-4", "step-6"]
    folder = finished / "checkpoints" / "toy" / "step-6"
    sums = json.loads((folder / "sha256.json").read_text())
    assert set(sums) == {"state.index", "state.data-00000-of-00001"}
    for name, digest in sums.items():
        said = subprocess.run(["sha256sum", folder / name], check=True, capture_output=True, text=True).stdout
        assert said.split()[0] == digest


@pytest.mark.parametrize("harm", [flip, truncate, pathlib.Path.unlink], ids=["bit", "short", "gone"])
@pytest.mark.parametrize("name", ["state.data-00000-of-00001", "state.index", "sha256.json"])
def test_the_checkpoint_before_a_damaged_one_is_used_and_the_damage_named(finished, caplog, harm, name):
    file = finished / "checkpoints" / "toy" / "step-6" / name
    harm(file)
    again = Counting()
    with caplog.at_level(logging.WARNING, logger="absl"):
        again.run(finished)
    assert again.steps == [4, 5]  # the finished stage's end is done again
    named = file.parent if harm is flip and name == "sha256.json" else file  # sums cannot tell which side is wrong
    assert str(named) in caplog.text
    assert kept(finished) == ["step-4", "step-6"]
    rows = read_losses(finished / "losses" / "toy.csv")
    assert [row[0] for row in rows] == list(range(6))
    third = Counting()
    third.run(finished)
    assert third.steps == []


def test_nothing_but_damaged_checkpoints_is_an_error_that_says_what_to_do(finished):
    for number in (4, 6):
        flip(finished / "checkpoints" / "toy" / f"step-{number}" / "state.data-00000-of-00001")
    with pytest.raises(InputError, match=r"checkpoints/toy: found only damaged checkpoints.*without this folder"):
        Counting().run(finished)


def test_a_finished_stage_whose_checkpoints_are_gone_is_done_again(finished):
    shutil.rmtree(finished / "checkpoints")
    again = Counting()
    again.run(finished)
    assert again.steps == list(range(6))


def test_what_a_killed_process_left_half_written_is_cleared_away(finished):
    left = finished / "checkpoints" / "toy" / ".partial-8"
    left.mkdir()
    (left / "state.index").write_bytes(b"half")
    Counting().run(finished, steps=8)
    assert kept(finished) == ["step-6", "step-8"]


def test_the_state_of_other_networks_is_refused(finished):
    other = Checkpoints(finished / "checkpoints" / "toy", {"other": tf.Variable(1.0)})
    with pytest.raises(InputError, match="step-6: found the state of other networks"):
        other.restore()


def test_weights_are_taken_from_the_end_of_a_finished_stage_only(finished):
    run, weights = RunFolder(finished, CONFIG), tf.Variable(tf.zeros(1000))
    restore_stage(run, "toy", holder=tf.train.Checkpoint(v=weights))
    np.testing.assert_array_equal(weights, 6.0)
    file = finished / "checkpoints" / "toy" / "step-6" / "state.index"
    flip(file)
    with pytest.raises(InputError, match=f"{file} is damaged"):
        restore_stage(run, "toy", holder=tf.train.Checkpoint(v=weights))
    shutil.rmtree(file.parent)
    with pytest.raises(InputError, match="no checkpoint of step 6"):
        restore_stage(run, "toy", holder=tf.train.Checkpoint(v=weights))
    with pytest.raises(InputError, match="no finished stage other"):
        restore_stage(run, "other")


def test_a_damaged_record_is_made_anew(finished):
    record = finished / "stages" / "toy.json"
    whole = json.loads(record.read_text())
    truncate(record)
    again = Counting()
    again.run(finished)
    assert again.steps == []
    timed = {"start_seconds", "step_seconds", "peak_bytes"}  # of the process that took the steps
    assert json.loads(record.read_text()) == {name: value for name, value in whole.items() if name not in timed}


def test_a_damaged_table_of_losses_is_named(finished):
    file = finished / "losses" / "toy.csv"
    file.write_text(file.read_text()[:-20] + "\n5,loss\n")
    (finished / "stages" / "toy.json").unlink()
    with pytest.raises(InputError, match=r"toy\.csv: found no table of losses"):
        Counting().run(finished)


@pytest.mark.parametrize("moment", ["weights", "checksums", "rename"])
def test_a_write_that_fails_stops_with_one_message_and_keeps_the_state(tmp_path, monkeypatch, moment):
    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device\n\tstack trace\n")

    def full_for_python(*_, **__):
        raise OSError(28, "No space left on device")

    broken = Counting()
    original = broken.step

    def step(index, rng):
        if index == 3:  # before the second checkpoint
            if moment == "weights":
                monkeypatch.setattr(tf.train.Checkpoint, "write", full)
            elif moment == "checksums":
                monkeypatch.setattr(checkpoints_module, "write_json", full_for_python)
            else:
                monkeypatch.setattr(pathlib.Path, "rename", full_for_python)
        return original(index, rng)

    broken.step = step
    with pytest.raises(RunStopped, match=r"^toy, step 4: cannot write .*No space left on device") as caught:
        broken.run(tmp_path / "run")
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert kept(tmp_path / "run") == ["step-2"]
    again = Counting()
    again.run(tmp_path / "run")
    assert again.steps == [2, 3, 4, 5]


def _small_files():
    """In the child: no file may grow beyond 16 KiB, and hitting that is an error instead of a signal."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, 1 << 14))


def test_a_real_failure_to_write_ends_a_command_in_one_line_with_status_one(tmp_path):
    """As on a full disk: the weights (40 kB) do not fit where every other file does."""
    code = f"""
from experiments import command
from tests.training import test_checkpoints as toy
import tensorflow as tf
class Large(toy.Counting):
    def __init__(self):
        super().__init__()
        self.ballast = tf.Variable(tf.zeros(10_000))
    @property
    def objects(self):
        return {{"ballast": self.ballast, **super().objects}}
command.main(lambda: Large().run({str(tmp_path / "run")!r}))
"""
    # Python would keep what it compiles here, cut off, and fail with it the next time.
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONDONTWRITEBYTECODE": "1"}
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=_small_files,
    )
    assert found.returncode == 1, found.stderr
    # TensorFlow 2.21 greets before it reads how much it is to log, in lines that begin so.
    logged = re.compile(r"\d\d|I0000 |WARNING: All log messages before absl::InitializeLog")
    (line,) = [line for line in found.stderr.splitlines() if not logged.match(line)]
    assert line.startswith("error: toy, step 2: cannot write the run's state (")
    assert kept(tmp_path / "run") == []


@pytest.mark.parametrize("others", [{"elsewhere": tf.Variable(0.0)}, {"seconds": tf.Variable([0.0, 1.0])}])
def test_a_part_of_other_networks_is_refused(finished, others):
    with pytest.raises(InputError, match="step-4: found the state of other networks"):
        restore_from(finished / "checkpoints" / "toy", 4, others)


def test_a_state_after_the_one_that_is_gone_on_from_is_put_aside_until_it_is_overtaken(finished):
    """Else the next ones kept would be taken for the older ones, and removed."""
    folder, variable = finished / "checkpoints" / "toy", tf.Variable(tf.zeros(1000))
    checkpoints = Checkpoints(
        folder, {"seconds": tf.Variable(0.0, dtype=tf.float64), "holder": tf.train.Checkpoint(v=variable)}
    )
    names = lambda: sorted(path.name for path in folder.iterdir())  # noqa: E731
    assert checkpoints.restore(at=5) == 4
    np.testing.assert_array_equal(variable, 4)
    checkpoints.save(6)
    assert names() == ["step-4", "step-6"]
    with pytest.raises(InputError, match="states of steps 4, 6, while the server begins at 0: it has lost its own"):
        checkpoints.restore(at=0)
    assert checkpoints.restore(at=5) == 4
    assert names() == ["aside-step-6", "step-4"]
    with pytest.raises(InputError, match="states of steps 4, 6, while the server begins at 3"):
        checkpoints.restore(at=3)  # lower and lower
    checkpoints.save(5)
    assert names() == ["aside-step-6", "step-4", "step-5"]
    assert checkpoints.restore(at=4) == 4
    assert names() == ["aside-step-6", "step-4"]  # that of step 5 has learnt less
    assert checkpoints.restore(at=6) == 6
    assert names() == ["step-4", "step-6"]
    checkpoints.restore(at=4)
    checkpoints.save(7)
    assert names() == ["step-4", "step-7"]


def test_a_first_state_that_only_the_site_has_kept_is_put_aside_too(finished):
    folder = finished / "checkpoints" / "toy"
    for old in sorted(folder.iterdir())[:-1]:
        shutil.rmtree(old)
    checkpoints = Checkpoints(folder, {"seconds": tf.Variable(0.0, dtype=tf.float64)})
    (only,) = folder.iterdir()
    for _ in range(2):
        assert checkpoints.restore(at=0) == 0
        assert [path.name for path in folder.iterdir()] == [f"aside-{only.name}"]
