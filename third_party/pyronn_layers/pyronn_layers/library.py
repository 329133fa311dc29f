"""The library of the compiled operators."""

from __future__ import annotations

import pathlib
import re

import tensorflow as tf

# Each TensorFlow has a library of its own, so that environments with different ones may share the sources.
_SERIES = ".".join(tf.__version__.split(".")[:2])
_PATH = pathlib.Path(__file__).parent / f"_cone_beam.tf{_SERIES}.so"

try:
    ops = tf.load_op_library(str(_PATH))
except (tf.errors.NotFoundError, tf.errors.InvalidArgumentError) as error:
    remedy = f"build pyronn-layers again for TensorFlow {tf.__version__}"
    raise ImportError(f"{_PATH}: cannot be loaded; {remedy} ({error.message})") from None


def extract_message(error: tf.errors.InvalidArgumentError) -> str:
    """Return the message of a kernel without what TensorFlow puts around it."""
    return re.sub(r"^\{\{.*?\}\} | \[Op:\w+\].*$", "", str(error.message))
