"""Threads, seeds, real data and the order of modules, for all tests."""

import gc
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ |= dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")  # for processes that tests start
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each of those would compile all modules anew

import numpy as np
import pytest
import tensorflow as tf

from tests.runs.toy_networks import use_small_gan

THREADS = 1
tf.config.threading.set_intra_op_parallelism_threads(THREADS)
tf.config.threading.set_inter_op_parallelism_threads(THREADS)
# Rewriting a graph takes half as long as tracing it, more than the few steps that tests take gain by it.
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})

TESTS = pathlib.Path(__file__).resolve().parent
# The modules that take longest, the longest first; workers take modules in this order.
SLOW_MODULES = (
    "federated/flare/test_deployment.py",
    "experiments/test_wrong_starts.py",
    "experiments/test_flags.py",
    "training/test_overfitting.py",
    "federated/test_federated.py",
    "training/test_killed.py",
    "federated/flare/test_fold.py",
    "training/test_simulation.py",
    "training/test_simulation_by_region.py",
    "training/test_segmentation.py",
    "federated/test_gradient_inversion.py",
    "runs/test_single_site.py",
    "federated/flare/test_simulated_run.py",
    "training/test_watch.py",
    "baselines/test_fixed_material.py",
    "tools/test_out_of_distribution.py",
    "training/test_batch_norm.py",
    "baselines/test_direct_fl.py",
    "runs/test_federated.py",
    "tools/test_build_ssm.py",
    "phantom/test_subjects.py",
    "tools/test_slices.py",
    "tools/test_two_scans.py",
    "training/test_odd_paths.py",
    "shape/registration/test_groupwise.py",
    "test_contributing.py",
)
gc.disable()  # until all is imported: a fifth of that time would be spent on looking for garbage, and there is none
DEFAULT_DATA = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items):
    """Mark the tests of slow modules and put those modules first, so that no worker ends with a long one alone."""
    order = {TESTS / name: place for place, name in enumerate(SLOW_MODULES)}
    for item in items:
        if item.path in order:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: order.get(item.path, len(order)))


def pytest_collection_finish():
    """Look for garbage again, but not among what was imported."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="module")
def _fixed_seeds():
    """Once a module, as TensorFlow throws its kernels away with it."""
    tf.keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def real_data():
    """Return a function that gives a path below the real test data, or skips the test and says why."""
    root = pathlib.Path(os.environ.get("FEDSIM_TEST_DATA", DEFAULT_DATA))

    def find(relative: str) -> pathlib.Path:
        path = root / relative
        if not path.exists():
            pytest.skip(f"real test data not found: {path} (set FEDSIM_TEST_DATA)")
        return path

    return find


@pytest.fixture(scope="module")
def small_gan():
    """Give learners GANs of three blocks, for tests that do not ask what a GAN of all seven makes."""
    with pytest.MonkeyPatch.context() as patch:
        use_small_gan(patch)
        yield


@pytest.fixture
def small_unet(monkeypatch):
    """Give U-Nets two levels instead of four, for tests that do not ask what the deeper ones make."""
    monkeypatch.setattr("fedsim_tf.models.unet3d.LEVELS", 2)


@pytest.fixture
def eagerly():
    """Run traced functions step by step: for a few steps, tracing the whole model takes far longer than running it."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
