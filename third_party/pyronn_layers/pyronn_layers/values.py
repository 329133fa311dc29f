"""What the operators of all beams have in common: their names, and how they read values and shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

ADJOINTS = {"projection": "projection_adjoint", "backprojection": "backprojection_adjoint"}
ADJOINTS |= {adjoint: operator for operator, adjoint in ADJOINTS.items()}
TAKE_VOLUMES = ("projection", "backprojection_adjoint")  # the other two take sinograms
_WORDS = {2: "two", 3: "three", 4: "four"}


def read_values(name: str, value: Any, rank: int) -> tf.Tensor:
    """Return volumes or sinograms as float32.

    Raises:
      ValueError: they have not that many dimensions, or one of them is 0.
    """
    tensor = tf.cast(tf.convert_to_tensor(value), tf.float32)
    if tensor.shape.rank not in (None, rank) or 0 in tensor.shape:
        expected = f"{_WORDS[rank]} dimensions, none of them 0"
        raise ValueError(f"{name}: found shape {tensor.shape}; expected {expected}")
    return tensor


def read_shape(name: str, value: Any, length: int) -> tf.Tensor:
    """Return the shape of an output, without the batch, as int64.

    Raises:
      ValueError: it is not that many numbers.
    """
    expected = f"{_WORDS[length]} numbers"
    if not tf.is_tensor(value):
        value = np.asarray(value.as_list() if isinstance(value, tf.TensorShape) else value)
        if value.dtype.kind not in "iuf":
            raise ValueError(f"{name}: found {value}; expected {expected}")
    tensor = tf.cast(value, tf.int64)
    if not tensor.shape.is_compatible_with([length]):
        raise ValueError(f"{name}: found shape {tensor.shape}; expected {expected}")
    return tensor
