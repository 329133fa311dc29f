"""Exact float32: what is computed in float32 keeps its 24 bits on GPUs too.

On recent GPUs TensorFlow multiplies float32 matrices as TF32, with ten bits of mantissa, unless it is told not to.
Feldkamp's filter lives on cancellation: in TF32 a volume of 128^3 voxels is wrong by tens of HU, differently in each
field of view. Networks that may be less exact say so and compute in bfloat16; see `models.precision`.
"""

import tensorflow as tf


def forbid_tf32() -> None:
    """Switch TF32 off in this process. Scanners and networks do so when they are made."""
    tf.config.experimental.enable_tensor_float_32_execution(False)
