"""float32 means float32: on recent GPUs TensorFlow multiplies it as TF32, with ten bits, unless told not to.

Feldkamp's filter lives on cancellation: in TF32 a volume of 128^3 voxels is wrong by tens of HU, at each field of view
differently. What may be less exact says so, and computes in bfloat16; see `models.precision`.
"""

import tensorflow as tf

tf.config.experimental.enable_tensor_float_32_execution(False)
