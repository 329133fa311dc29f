"""Geometry arguments in the form that the compiled operators take: arrays where they are known, else tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf


class Field(NamedTuple):
    """A geometry argument: its name, its shape without the batch (None: any length), and the shape in words."""

    name: str
    shape: tuple[int | None, ...]
    expected: str

    @property
    def rank(self) -> int:
        return len(self.shape)

    def read(self, value: Any) -> Any:
        """Return the argument as float64, with or without a batch dimension.

        Raises:
          ValueError: it is not what the field expects; the message says what was found.
        """
        if tf.is_tensor(value):
            static = tf.get_static_value(value)
            if static is None:
                return tf.cast(value, tf.float64)
            value = static
        try:
            array = np.asarray(value)
            if array.ndim == self.rank + 1 and len(array) and array.strides[0] == 0:
                array = array[0]  # PYRO-NN repeats one geometry for the whole batch
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{self.name}: found {value!r}; expected numbers") from None
        given = array.shape[max(array.ndim - self.rank, 0) :]
        fits = len(given) == self.rank and all(n in (None, m) for n, m in zip(self.shape, given, strict=True))
        if not fits or array.ndim > self.rank + 1:
            wanted = f"{self.expected}, or one more dimension for the batch"
            raise ValueError(f"{self.name}: found shape {array.shape}; expected {wanted}")
        return array


def known(values: Sequence[Any]) -> bool:
    """Return whether all of the values of geometry arguments are known already."""
    return not any(tf.is_tensor(value) for value in values)


def entries(fields: Sequence[Field], arrays: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Yield the arrays of each entry of the batch; one list where none has a batch dimension."""
    batched = [array.ndim > field.rank for field, array in zip(fields, arrays, strict=True)]
    count = max((len(array) if many else 1 for array, many in zip(arrays, batched, strict=True)), default=1)
    for entry in range(count):
        yield [a[min(entry, len(a) - 1)] if many else a for a, many in zip(arrays, batched, strict=True)]
