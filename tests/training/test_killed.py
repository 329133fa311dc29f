"""Every stage at toy size, killed by SIGKILL and started again, ends as it would have: bit for bit."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.training.killed_jobs import KILLS

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folder of all jobs, what was killed when, and what the processes said."""
    root = tmp_path_factory.mktemp("killed")
    found = subprocess.run(
        [sys.executable, "-m", "tests.training.killed_jobs", str(root)],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert found.returncode == 0, found.stderr
    return root, found.stdout.splitlines(), found.stderr


@pytest.mark.parametrize("job", KILLS, ids=lambda job: job.__name__)
def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(killed, job):
    root, kills, errors = killed
    name = job.__name__
    assert [kill for kill in kills if kill.startswith(f"{name} ")] == [
        f"{name} {stage} {when}" for stage, when in KILLS[job]
    ], errors
    with np.load(root / f"{name}_whole.npz") as whole, np.load(root / f"{name}_killed.npz") as resumed:
        assert whole.files == resumed.files
        assert len(whole.files) >= 10
        different = [key for key in whole.files if whole[key].tobytes() != resumed[key].tobytes()]
    assert different == []
    whole_losses, losses = (
        {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.csv") if not is_record(file)}
        for folder in (root / f"{name}_whole", root / f"{name}_killed")
    )
    assert losses == whole_losses
    assert len(losses) >= len({stage for stage, _ in KILLS[job]})


def is_record(file):
    """Whether a table says what a site or the server has sent: rounds that are repeated are sent twice."""
    return file.name in ("sent.csv", "sent_arrays.csv", "broadcast.csv", "broadcast_arrays.csv")
