"""Which form of a three-dimensional convolution suits the device that networks compute on.

TensorFlow's own are slow on processors and fast on GPUs. The forms for processors are in `convolution3d` and
`raised_convolution`. Both have the same weights and results but for rounding. A layer asks once, when it is made.
"""

from __future__ import annotations

import tensorflow as tf


def list_gpus() -> list[tf.config.PhysicalDevice]:
    """Return the GPUs that TensorFlow may use."""
    return tf.config.get_visible_devices("GPU")


def takes_processor_forms() -> bool:
    """Return whether layers that are made now take the forms for processors, which they do where there is no GPU."""
    return not list_gpus()
