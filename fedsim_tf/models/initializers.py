"""Initial weights of the GAN."""

import tensorflow as tf


def xavier(gain: float = 0.02) -> tf.keras.initializers.Initializer:
    """Xavier normal: variance gain^2 2 / (fan in + fan out) (Glorot and Bengio 2010; gain of Park et al. 2019)."""
    return tf.keras.initializers.VarianceScaling(gain**2, mode="fan_avg", distribution="untruncated_normal")
