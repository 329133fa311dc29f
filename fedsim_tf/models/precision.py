"""In which precision the large networks compute: Keras's mixed bfloat16 where it is fast, else float32.

Variables, optimizers, normalisation statistics, spectral norms and losses are float32 in both (Micikevicius et al.,
ICLR 2018; Kalamkar et al., arXiv 1905.12322). bfloat16 has float32's range, so losses need no scaling.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator

import tensorflow as tf

from fedsim_tf.config import Config

_CPU_FLAGS = {"avx512_bf16", "amx_bf16"}  # as Linux calls them
_FIRST_GPU = (8, 0)  # compute capability


def resolved(precision: str) -> str:
    """ "float32" or "bfloat16" for a configured precision: "auto" is what this machine is fast in."""
    if precision != "auto":
        return precision
    return "bfloat16" if has_fast_bfloat16() else "float32"


def with_resolved_precision(config: Config) -> Config:
    """The configuration with this machine's answer to "auto": a run that moves to another must not change precision."""
    return dataclasses.replace(
        config, model=dataclasses.replace(config.model, precision=resolved(config.model.precision))
    )


@functools.cache
def has_fast_bfloat16() -> bool:
    """Whether this machine's GPU, or its processor where there is none, multiplies bfloat16 matrices."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        return details.get("compute_capability", (0, 0)) >= _FIRST_GPU
    try:
        return bool(_CPU_FLAGS & set(pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").split()))
    except OSError:  # no Linux
        return False


def device() -> str:
    """What TensorFlow computes on, in words."""
    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    names = ", ".join(str(details.get("device_name", "a GPU")) for details in gpus)
    return names or f"{os.cpu_count()} CPU cores; there is no GPU that TensorFlow can use"


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Networks that are made and first called inside compute in this precision ever after."""
    usual = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16" if resolved(precision) == "bfloat16" else "float32")
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(usual)
