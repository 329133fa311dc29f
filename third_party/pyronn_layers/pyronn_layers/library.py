"""The compiled operators."""

from __future__ import annotations

import pathlib
import re

import tensorflow as tf

_PATH = pathlib.Path(__file__).parent / "_cone_beam.so"

try:
    ops = tf.load_op_library(str(_PATH))
except (tf.errors.NotFoundError, tf.errors.InvalidArgumentError) as error:
    wanted = f"build pyronn-layers anew against TensorFlow {tf.__version__}"
    raise ImportError(f"{_PATH}: cannot be loaded; {wanted} ({error.message})") from None


def message_of(error: tf.errors.InvalidArgumentError) -> str:
    """What a kernel said, without what TensorFlow puts around it."""
    return re.sub(r"^\{\{.*?\}\} | \[Op:\w+\].*$", "", str(error.message))
