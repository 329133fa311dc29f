"""Initial values of weights, each a function of a seed that its network gives it."""

from __future__ import annotations

import hashlib
from typing import Any

import tensorflow as tf


def derive_seed(seed: int, *path: str) -> int:
    """Return the seed of a part of a network, 0 to 2^31 - 1: a function of the network's seed and the part's path.

    Parts with different paths, and the same part under different seeds, get unrelated numbers. The order in which parts
    are made does not matter.
    """
    digest = hashlib.sha256("/".join((str(seed), *path)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def name_part(seed: int, name: str) -> dict[str, Any]:
    """Return the keywords `name` and `seed` of a part of the layer or network that has this seed."""
    return {"name": name, "seed": derive_seed(seed, name)}


def xavier(seed: int, *, gain: float = 0.02) -> tf.keras.initializers.Initializer:
    """Return Xavier's normal: variance gain^2 2 / (fan in + fan out).

    Glorot and Bengio (AISTATS 2010); the gain is that of Park et al. (CVPR 2019).
    """
    return tf.keras.initializers.VarianceScaling(gain**2, mode="fan_avg", distribution="untruncated_normal", seed=seed)


def glorot(seed: int) -> tf.keras.initializers.Initializer:
    """Return Glorot and Bengio's uniform distribution, which Keras's layers have by default."""
    return tf.keras.initializers.GlorotUniform(seed=seed)


def normal(seed: int, *, sd: float = 0.05) -> tf.keras.initializers.Initializer:
    """Return a normal distribution around zero with standard deviation `sd`."""
    return tf.keras.initializers.RandomNormal(stddev=sd, seed=seed)
