"""Keras 2 as `tf.keras`: TensorFlow 2.15 holds it, later ones take it from the package tf_keras when they are asked.

TensorFlow asks the environment's TF_USE_LEGACY_KERAS, once, when `tf.keras` is first used. This module neither imports
TensorFlow nor is imported after it: `fedsim_tf/__init__.py` calls it before any other module of the package.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys

VARIABLE = "TF_USE_LEGACY_KERAS"
_LAST_WITH_KERAS_2 = (2, 15)
_YES = ("1", "true", "True")  # what TensorFlow takes for yes


def is_separate() -> bool:
    """Return whether Keras 2 is a package of its own beside the TensorFlow that is installed (2.16 or later)."""
    for name in ("tensorflow", "tensorflow-cpu"):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        return tuple(map(int, version.split(".")[:2])) > _LAST_WITH_KERAS_2
    return False


def choose_keras_2() -> None:
    """Make `tf.keras` Keras 2 in this process and in those that it starts; change nothing where it is anyway.

    Raises:
      InputError: the environment asks for Keras 3, or the process has used Keras 3 as `tf.keras` already.
    """
    if not is_separate():
        return
    if os.environ.setdefault(VARIABLE, "1") not in _YES:
        _refuse(VARIABLE, value=repr(os.environ[VARIABLE]), must="be 1 or unset: fedsim_tf runs on Keras 2 (tf_keras)")
    tensorflow = sys.modules.get("tensorflow")
    # Whoever uses `tf.keras` first decides for the process. There Keras 3 says its version, and Keras 2 says none.
    if tensorflow is not None and not getattr(tensorflow.keras, "__version__", "2").startswith("2"):
        _refuse("tf.keras", found="Keras 3", expected="that fedsim_tf is imported before tf.keras is first used")


def _refuse(subject: str, **words: str) -> None:
    from fedsim_tf.errors import InputError  # here, as importing fedsim_tf is to cost nothing

    raise InputError(subject, **words)
