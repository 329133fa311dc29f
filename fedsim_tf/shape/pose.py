"""The pose, which is the last seven of the shape parameters."""

from __future__ import annotations

import tensorflow as tf


def rotation_matrices(angles: tf.Tensor) -> tf.Tensor:
    """Return R = Rz Ry Rx (..., 3, 3) for angles (..., 3) in rad about x, y and z."""
    cx, cy, cz = tf.unstack(tf.cos(angles), axis=-1)
    sx, sy, sz = tf.unstack(tf.sin(angles), axis=-1)
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return tf.stack([tf.stack(row, axis=-1) for row in rows], axis=-2)
