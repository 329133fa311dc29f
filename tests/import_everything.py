"""Imports every module of the library and prints, line by line, what each changes outside itself.

    python -m tests.import_everything

TensorFlow and other packages are imported first: what they change is theirs. pyronn is not, as its greeting is ours to
keep off standard output.
"""

import contextlib
import importlib
import importlib.util
import io
import logging
import os
import pkgutil
import random
import signal
import sys
import warnings
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import absl.logging
import matplotlib
import numpy as np
import scipy.ndimage
import SimpleITK
import sklearn.covariance
import tensorflow as tf

import fedsim_tf

SETTINGS = matplotlib.rcParams  # read as a plain dictionary: it chooses a backend when it is asked for one
_ = absl.logging, scipy.ndimage, SimpleITK, sklearn.covariance  # imported for what they change


def state() -> dict[str, Any]:
    """What the process's modules have in common."""
    mask = os.umask(0o022)
    os.umask(mask)
    return {
        "the environment": dict(os.environ),
        "the working folder": os.getcwd(),
        "TF32": tf.config.experimental.tensor_float_32_execution_enabled(),
        "the precision policy": tf.keras.mixed_precision.global_policy().name,
        "eager execution": tf.config.functions_run_eagerly(),
        "matplotlib's settings": {name: str(dict.__getitem__(SETTINGS, name)) for name in SETTINGS},
        "standard output": id(sys.stdout),
        "standard error": id(sys.stderr),
        "random numbers of Python": random.getstate(),
        "random numbers of NumPy": repr(np.random.get_state()),  # noqa: NPY002
        "NumPy's errors": np.geterr(),
        "warnings": list(map(str, warnings.filters)),
        "logging": (logging.root.level, list(map(repr, logging.root.handlers))),
        "signals": {int(number): repr(signal.getsignal(number)) for number in signal.valid_signals()},
        "the file mask": mask,
    }


def modules() -> Iterator[str]:
    """Names of the library's modules."""
    for found in pkgutil.walk_packages(fedsim_tf.__path__, "fedsim_tf."):
        if not found.name.startswith("fedsim_tf.federated.flare.") or importlib.util.find_spec("nvflare"):
            yield found.name


def changes(name: str) -> Iterator[str]:
    """Imports a module, and says what it changes."""
    before, printed = state(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        importlib.import_module(name)
    after = state()
    yield from (f"{name} changes {kind}" for kind in before if before[kind] != after[kind])
    if printed.getvalue():
        yield f"{name} prints {printed.getvalue()!r}"


if __name__ == "__main__":
    for module in modules():
        for line in changes(module):
            print(line)
