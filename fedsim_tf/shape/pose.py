"""The similarity transform of the 21 shape parameters."""

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


def transform(points: tf.Tensor, pose: tf.Tensor) -> tf.Tensor:
    """Scales, rotates about the origin and translates.

    Args:
      points: (..., V, 3) in mm.
      pose: (..., 7): rotations rad, translations mm, log scale.

    Returns:
      (..., V, 3) in mm.
    """
    rotation = rotation_matrices(pose[..., :3])
    scale = tf.exp(pose[..., 6])[..., None, None]
    rotated = tf.einsum("...vj,...ij->...vi", points, rotation)
    return scale * rotated + pose[..., None, 3:6]
