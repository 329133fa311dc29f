"""Which operations of a step no GPU can do: their inputs and results go through the host's memory.

TensorFlow for Linux registers its GPU kernels on machines without a GPU, too, so that this can be asked anywhere.
"""

from __future__ import annotations

import collections
import gc
from collections.abc import Iterable, Iterator

import tensorflow as tf
from tensorflow.python.framework import kernels  # the registry has no public reader

ON_GPU = ("GPU", "DEFAULT")


def list_graphs() -> list[tf.Graph]:
    """Return the graphs of all functions that this process has traced and not forgotten."""
    return [one for one in gc.get_objects() if isinstance(one, tf.Graph)]


def list_host_operations(graphs: Iterable[tf.Graph]) -> dict[str, list[tf.Operation]]:
    """Return the operations that have no kernel on GPUs for their types, by kind."""
    registered = collections.defaultdict(list)
    for kernel in kernels.get_all_registered_kernels().kernel:
        if kernel.device_type in ON_GPU:
            registered[kernel.op].append(kernel)
    answers: dict[tuple, bool] = {}
    found = collections.defaultdict(list)
    for operation in (one for graph in graphs for one in graph.get_operations()):
        which = (operation.type, *(one.dtype for one in (*operation.inputs, *operation.outputs)))
        if which not in answers:
            answers[which] = any(_fits(kernel, operation) for kernel in registered[operation.type])
        if not answers[which]:
            found[operation.type].append(operation)
    return dict(found)


def count_bytes(operations: Iterable[tf.Operation]) -> int:
    """Return how many bytes the inputs and results of operations have; unknown edges count as one."""
    tensors = {id(one): one for operation in operations for one in (*operation.inputs, *operation.outputs)}
    return sum(one.dtype.size * _count(one.shape) for one in tensors.values())


def _count(shape: tf.TensorShape) -> int:
    count = 1
    for edge in shape if shape.rank is not None else ():
        count *= edge or 1
    return count


def _fits(kernel, operation: tf.Operation) -> bool:
    return all(value in allowed for value, allowed in _constrained_types(kernel, operation))


def _constrained_types(kernel, operation: tf.Operation) -> Iterator[tuple[int, list[int]]]:
    """Yield each type of an operation that a kernel limits, and what it allows."""
    for constraint in kernel.constraint:
        allowed = list(constraint.allowed_values.list.type)
        if allowed:
            yield operation.get_attr(constraint.name).as_datatype_enum, allowed
