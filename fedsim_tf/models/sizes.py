"""How many entries a tensor has along each axis."""

from __future__ import annotations

import tensorflow as tf


def sizes(tensor: tf.Tensor) -> list[int | tf.Tensor]:
    """Return the size of each axis: a number where it is known while a function is traced, else a scalar tensor.

    What is computed from numbers is one constant in the graph. From `tf.shape` it is a dozen operations for each layer,
    which tracing pays for one by one.
    """
    static = tensor.shape.as_list()
    if None not in static:
        return static
    dynamic = tf.shape(tensor)
    return [dynamic[axis] if size is None else size for axis, size in enumerate(static)]
