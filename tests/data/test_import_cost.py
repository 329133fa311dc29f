"""What importing the data modules costs: no TensorFlow, and nothing outside them changes."""

import subprocess
import sys

CODE = """
import importlib, os, pkgutil, random, sys
import numpy as np
import fedsim_tf.data
environment, state, words = dict(os.environ), random.getstate(), np.random.get_state()[1].tolist()
names = [f"fedsim_tf.data.{module.name}" for module in pkgutil.iter_modules(fedsim_tf.data.__path__)]
assert len(names) > 15, names
for name in ["fedsim_tf.regions", "fedsim_tf.volume", *names]:
    importlib.import_module(name)
assert "tensorflow" not in sys.modules
assert dict(os.environ) == environment
assert random.getstate() == state
assert np.random.get_state()[1].tolist() == words
"""


def test_importing_the_data_modules_needs_no_tensorflow_and_changes_nothing():
    found = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
