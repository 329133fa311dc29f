"""Initial weights and names."""

import tensorflow as tf


def xavier(gain: float = 0.02) -> tf.keras.initializers.Initializer:
    """Xavier normal: variance gain^2 2 / (fan in + fan out) (Glorot and Bengio 2010; gain of Park et al. 2019)."""
    return tf.keras.initializers.VarianceScaling(gain**2, mode="fan_avg", distribution="untruncated_normal")


def begin_anew(seed: int) -> None:
    """Before networks are made: they get the weights and names that they would have as this process's first ones.

    Keras numbers the layers that a process makes, and TensorFlow orders and fuses a graph's operations with an eye to
    their names: without this the last digits of gradients differ between a process's first networks and later ones.
    """
    tf.keras.utils.set_random_seed(seed)
    tf.keras.backend.reset_uids()
