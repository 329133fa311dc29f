"""Threads and seeds are fixed before any test runs; real data is found here or its tests are skipped."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ |= dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "2")  # of processes that tests start

import numpy as np
import pytest
import tensorflow as tf

THREADS = 2
tf.config.threading.set_intra_op_parallelism_threads(THREADS)
tf.config.threading.set_inter_op_parallelism_threads(THREADS)

DEFAULT_DATA = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _fixed_seeds():
    tf.keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def real_data():
    """Returns a function: path below the real test data, or skip with the reason."""
    root = pathlib.Path(os.environ.get("FEDSIM_TEST_DATA", DEFAULT_DATA))

    def find(relative: str) -> pathlib.Path:
        path = root / relative
        if not path.exists():
            pytest.skip(f"real test data not found: {path} (set FEDSIM_TEST_DATA)")
        return path

    return find


@pytest.fixture
def eagerly():
    """Runs traced functions step by step: for a few steps, tracing the whole model takes far longer than running it."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
