"""The pose among the 21 shape parameters."""

from __future__ import annotations

import tensorflow as tf

N_POSE = 7  # three rotations (rad), three translations (mm), one log scale


def rotation_matrices(angles: tf.Tensor) -> tf.Tensor:
    """R = Rz Ry Rx for angles (..., 3) in rad about x, y, z. Shape (..., 3, 3)."""
    cx, cy, cz = tf.unstack(tf.cos(angles), axis=-1)
    sx, sy, sz = tf.unstack(tf.sin(angles), axis=-1)
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return tf.stack([tf.stack(row, axis=-1) for row in rows], axis=-2)
