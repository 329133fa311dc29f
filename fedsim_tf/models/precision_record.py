"""The file that keeps which precision is fast on this machine; it is read and written without TensorFlow."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import pathlib
import platform
import sys
from collections.abc import Mapping
from typing import Any

from fedsim_tf.config import PRECISIONS
from fedsim_tf.errors import InputError
from fedsim_tf.files import digest_json, read_json, write_json

FOLDER = "precision"  # within the cache folder
_LIBRARIES = ("tensorflow", "tensorflow-cpu", "keras", "tf-keras")
# Variables by which users change what TensorFlow computes on, and how.
_VARIABLES = ("CUDA_VISIBLE_DEVICES", "TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")
_CPUS, _GPUS = pathlib.Path("/proc/cpuinfo"), pathlib.Path("/proc/driver/nvidia/gpus")


def read_precision(cache_dir: str | os.PathLike) -> str | None:
    """Return the precision that was measured to be fast on a machine like this; None if there is no readable answer."""
    machine = describe_machine()
    try:
        kept = read_json(_path(cache_dir, machine))
    except (OSError, InputError):
        return None
    if not isinstance(kept, dict) or kept.get("machine") != machine:
        return None
    precision = kept.get("precision")
    return precision if precision in PRECISIONS and precision != "auto" else None


def keep_precision(cache_dir: str | os.PathLike, precision: str, *, seconds: Mapping[str, Any]) -> None:
    """Write the answer for machines like this, with the times that it rests on."""
    machine = describe_machine()
    write_json(_path(cache_dir, machine), {"precision": precision, "seconds": dict(seconds), "machine": machine})


def describe_machine() -> dict[str, Any]:
    """Return what the speed of convolutions depends on: processor, GPUs, libraries, number of threads."""
    return {
        "processor": _processor(),
        "gpus": _gpus(),
        "libraries": _versions(),
        "threads": _threads(),
        "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def _path(cache_dir: str | os.PathLike, machine: Mapping[str, Any]) -> pathlib.Path:
    return pathlib.Path(cache_dir) / FOLDER / f"{digest_json(dict(machine))[:16]}.json"


def _processor() -> str:
    """Return the processor's model with its instruction sets: names such as "AMD EPYC" stand for several models."""
    wanted = ("model name", "flags", "cpu family", "model", "CPU part", "Features")
    with contextlib.suppress(OSError):
        first = _CPUS.read_text(encoding="utf-8").split("\n\n")[0].splitlines()
        values = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first)}
        if found := {name: values[name] for name in wanted if name in values}:
            model = values.get("model name", platform.machine())
            return f"{model}, {digest_json(found)[:16]}"
    return platform.processor() or platform.machine()


def _gpus() -> list[str]:
    """Return the models of NVIDIA's GPUs that the driver lists."""
    found = []
    for file in sorted(_GPUS.glob("*/information")):
        with contextlib.suppress(OSError):
            lines = file.read_text(encoding="utf-8").splitlines()
            found += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return found


def _versions() -> dict[str, str]:
    versions = {}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _threads() -> int:
    """Return how many threads an operation of TensorFlow may use in this process."""
    tensorflow = sys.modules.get("tensorflow")  # a process that has not imported it has not configured it either
    configured = tensorflow.config.threading.get_intra_op_parallelism_threads() if tensorflow is not None else 0
    return configured or len(os.sched_getaffinity(0))
