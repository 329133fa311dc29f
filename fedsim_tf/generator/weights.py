"""The variables of a network as arrays by name, and back."""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf

from fedsim_tf.errors import InputError
from fedsim_tf.generator.folder import Weights
from fedsim_tf.records.generator_card import GeneratorCard


def take_weights(network: tf.keras.Model) -> dict[str, np.ndarray]:
    """Return every variable of a network, trained or not, by number and name, such as "000/hidden_0/kernel"."""
    return {f"{number:03d}/{_name(variable)}": variable.numpy() for number, variable in enumerate(network.weights)}


def restore_weights(network: tf.keras.Model, weights: Weights, *, subject: str | os.PathLike) -> None:
    """Give a network the variables that `take_weights` took from one of the same sizes.

    Args:
      network: its variables have been made.
      weights: by number and name.
      subject: the file that they come from, for messages.

    Raises:
      InputError: variables of another number or shape; nothing is changed then.
    """
    given, variables = list(weights.values()), network.weights
    if len(given) != len(variables):
        raise InputError(subject, found=f"{len(given)} variables", expected=f"{len(variables)}: {GeneratorCard.REMEDY}")
    for (name, array), variable in zip(weights.items(), variables, strict=True):
        if array.shape != tuple(variable.shape):
            expected = f"{tuple(variable.shape)}: {GeneratorCard.REMEDY}"
            raise InputError(subject, found=f"{name} of shape {array.shape}", expected=expected)
    network.set_weights(given)


def _name(variable: tf.Variable) -> str:
    """Return a variable's name within its network."""
    return variable.name.partition("/")[2].removesuffix(":0")
