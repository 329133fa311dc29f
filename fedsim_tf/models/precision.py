"""The precision in which the large networks compute: Keras's mixed bfloat16 where it is fast, else float32.

Variables, optimizers, normalisation statistics, spectral norms and losses are float32 in both (Micikevicius et al.,
ICLR 2018; Kalamkar et al., arXiv 1905.12322). bfloat16 has float32's range, so losses need no scaling.

Whether bfloat16 is fast is measured: processors and libraries that have instructions for it may still be slower than in
float32.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
from absl import logging

from fedsim_tf.config import Config
from fedsim_tf.float32 import forbid_tf32
from fedsim_tf.models.convolution3d import SlicedConv3D
from fedsim_tf.models.device_forms import list_gpus
from fedsim_tf.models.initializers import glorot
from fedsim_tf.models.precision_record import keep_precision, read_precision
from fedsim_tf.models.raised_convolution import RaisedConvolution

FEWEST, REPEATS, ENOUGH_SECONDS = 2, 10, 0.2  # repeats of a measurement: at least, at most, and a time that suffices
GPU_BATCH = 64  # gives a GPU so much work that the convolutions, not their launch, take the time
# bfloat16 is less exact: it is chosen where it takes less than this share of float32's time.
WORTHWHILE = 0.9
_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}

Seconds = dict[str, dict[str, float]]  # kind of convolution, then precision
Measured = tuple[tf.keras.layers.Layer, list[tf.Tensor]]  # a layer and its input maps


def resolve_precision(precision: str, *, cache_dir: str | os.PathLike | None = None) -> str:
    """Return "float32" or "bfloat16" for a configured precision, where "auto" is the one that is fast here.

    Args:
      precision: one of `config.PRECISIONS`.
      cache_dir: the folder where the answer for this machine is kept, and where a kept one is looked for; None to
        measure once in this process and keep nothing.
    """
    if precision != "auto":
        return precision
    if cache_dir is None:
        return choose_precision(measure_convolutions())
    if (kept := read_precision(cache_dir)) is not None:
        return kept
    seconds = measure_convolutions()
    answer = choose_precision(seconds)
    with contextlib.suppress(OSError):  # a cache that cannot be written is no reason to stop
        keep_precision(cache_dir, answer, seconds=seconds)
    return answer


def pin_precision(config: Config, *, cache_dir: str | os.PathLike | None = None) -> Config:
    """Return the configuration with this machine's answer to "auto".

    A run keeps the answer in its configuration: it must not change precision when it goes on elsewhere.
    """
    precision = resolve_precision(config.model.precision, cache_dir=cache_dir)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, precision=precision))


def choose_precision(seconds: Seconds) -> str:
    """Return the precision that the measured times speak for; the kinds of convolutions count alike."""
    ratios = [times["bfloat16"] / times["float32"] for times in seconds.values()]
    return "bfloat16" if np.exp(np.mean(np.log(ratios))) < WORTHWHILE else "float32"


@functools.cache
def measure_convolutions() -> Seconds:
    """Return the seconds that each kind of convolution takes in either precision, forward and backward.

    The least time of several repeats counts: other work on the machine only ever adds to it. The process measures once.
    """
    forbid_tf32()
    started = time.perf_counter()
    found = {kind: _time_kind(make) for kind, make in _KINDS.items()}
    text = "; ".join(
        f"{kind} {1e3 * times['float32']:.1f} and {1e3 * times['bfloat16']:.1f} ms" for kind, times in found.items()
    )
    logging.info("Convolutions in float32 and bfloat16: %s (%.1f s)", text, time.perf_counter() - started)
    return found


def _time_kind(make: Callable[[str, int], Measured]) -> dict[str, float]:
    """Return the least seconds in either precision; repeats alternate, so that a busy moment meets both."""
    batch = GPU_BATCH if list_gpus() else 1
    calls = {precision: _trace_gradients(*make(policy, batch)) for precision, policy in _POLICIES.items()}
    for call in calls.values():
        call()  # the first call optimizes the graph
    taken: dict[str, list[float]] = {precision: [] for precision in calls}
    while len(taken["float32"]) < FEWEST or (
        len(taken["float32"]) < REPEATS and sum(map(sum, taken.values())) < ENOUGH_SECONDS
    ):
        for precision, call in calls.items():
            start = time.perf_counter()
            call().numpy()  # waits for a GPU
            taken[precision].append(time.perf_counter() - start)
    return {precision: min(times) for precision, times in taken.items()}


def _trace_gradients(layer: tf.keras.layers.Layer, maps: list[tf.Tensor]) -> Callable[[], tf.Tensor]:
    maps = [tf.cast(each, layer.compute_dtype) for each in maps]
    inputs, shapes = (maps[0], maps[0].shape) if len(maps) == 1 else (tuple(maps), tuple(each.shape for each in maps))
    layer.build(shapes)

    def sum_gradients() -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(maps)
            total = tf.reduce_sum(tf.cast(layer(inputs), tf.float32))
        gradients = tape.gradient(total, [*maps, *layer.trainable_variables])
        return tf.add_n([tf.reduce_sum(tf.cast(gradient, tf.float32)) for gradient in gradients])

    # A concrete function, as TensorFlow warns of functions that are made and traced again and again.
    return tf.function(sum_gradients, autograph=False).get_concrete_function()


def _make_2d(policy: str, batch: int) -> Measured:
    layer = tf.keras.layers.Conv2D(64, 3, padding="same", kernel_initializer=glorot(0), dtype=policy, name="measured")
    return layer, [tf.ones((batch, 24, 24, 64))]


def _make_3d(policy: str, batch: int) -> Measured:
    return SlicedConv3D(32, seed=0, dtype=policy, name="measured"), [tf.ones((batch, 8, 16, 16, 16))]


def _make_raised(policy: str, batch: int) -> Measured:
    layer = RaisedConvolution(16, 32, seed=0, dtype=policy, name="measured")
    return layer, [tf.ones((batch, 8, 16, 16, 16)), tf.ones((batch, 4, 8, 8, 32))]


_KINDS = {"2-D": _make_2d, "3-D": _make_3d, "raised": _make_raised}


def device() -> str:
    """Return what TensorFlow computes on, in words."""
    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in list_gpus()]
    names = ", ".join(str(details.get("device_name", "a GPU")) for details in gpus)
    return names or f"{os.cpu_count()} CPU cores; there is no GPU that TensorFlow can use"


@contextlib.contextmanager
def use_precision(precision: str) -> Iterator[None]:
    """Make networks that are made and first called within this context compute in a precision ever after."""
    usual = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(_POLICIES[resolve_precision(precision)])
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(usual)
