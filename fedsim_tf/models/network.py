"""What all networks have in common: a seed for their initial values, names of their own, and exact float32."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fedsim_tf.float32 import forbid_tf32
from fedsim_tf.models.arguments import check_seed
from fedsim_tf.models.initializers import derive_seed


class Network(tf.keras.Model):
    """A model whose initial values and names depend on its seed and kind alone, not on what the process made before.

    Subclasses name every layer that they make. Keras would number unnamed layers through the whole process, and
    TensorFlow orders and fuses a graph's operations by their names: the last digits of gradients would depend on how
    many networks there were before.

    Args:
      kind: the network's name; networks of different kinds share no initial values.
      seed: what initial values are drawn from.

    Attributes:
      seed: what the network derives its layers' seeds from, a function of `seed` and `kind`.

    Raises:
      InputError: a seed that is not a whole number.
    """

    def __init__(self, kind: str, *, seed: int, **kwargs: Any):
        check_seed(seed)
        forbid_tf32()
        super().__init__(**{"name": kind, **kwargs})
        self.seed = derive_seed(seed, kind)
