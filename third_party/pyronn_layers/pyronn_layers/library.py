"""The library of the compiled operators."""

from __future__ import annotations

import pathlib
import re

import tensorflow as tf

_PATH = pathlib.Path(__file__).parent / "_cone_beam.so"

try:
    ops = tf.load_op_library(str(_PATH))
except (tf.errors.NotFoundError, tf.errors.InvalidArgumentError) as error:
    remedy = f"build pyronn-layers again for TensorFlow {tf.__version__}"
    raise ImportError(f"{_PATH}: cannot be loaded; {remedy} ({error.message})") from None


def extract_message(error: tf.errors.InvalidArgumentError) -> str:
    """Return the message of a kernel without what TensorFlow puts around it."""
    return re.sub(r"^\{\{.*?\}\} | \[Op:\w+\].*$", "", str(error.message))
