"""Does all of it compute on this machine's GPU, rightly and fast: a table to paste into a report.

python -m benchmarks.device_check [--presets demo small] [--size=128] [--steps=5]

Each operator on the GPU beside the processor, with the difference of their results; a step of every stage in both
precisions, its seconds, memory, and what its traced functions send through the host's memory because no GPU can do it.
On a machine without a GPU the same with the processor alone, whose memory is that of the whole process. Random volumes
stand in for CTs; times are medians, those of operators with the way of the result back to the host.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import importlib.metadata
import platform
import resource
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import tensorflow as tf

from benchmarks.bodies import body
from benchmarks.gpu_kernels import count_bytes, list_graphs, list_host_operations
from benchmarks.native_operators import OPERATORS, apply
from benchmarks.planar_beam import Beam
from benchmarks.steps import median_seconds, open_stages
from fedsim_tf.config import PRESETS, make_config
from fedsim_tf.ct.geometry import cone_beam_geometry
from fedsim_tf.ct.scanner import ConeBeamScanner
from fedsim_tf.models.device_forms import list_gpus
from fedsim_tf.models.precision import device
from fedsim_tf.runs.inputs import open_shape_model
from fedsim_tf.shape.decoder import ShapeDecoder
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.parameters import N_POSE, shape_frame_mm
from pyronn_layers.values import TAKE_VOLUMES

CPU, GPU = "CPU:0", "GPU:0"
EXTENT_MM = (256.0, 256.0, 256.0)
REPEATS = 7
INPUTS = ("PyFunc", "GeneratorDataset")  # of the pipelines that feed a step: they are the host's by nature


class Timed(NamedTuple):
    """An operator with what it is given."""

    name: str
    call: Callable[[], tf.Tensor]


def main(presets: list[str], *, size: int, steps: int) -> None:
    warnings.filterwarnings("ignore", message="the detector does not see")  # the corners of a plane
    print_machine()
    devices = [GPU, CPU] if list_gpus() else [CPU]
    print_operators(devices, size)
    for preset in presets:
        print_stages(preset, devices, steps)


def print_machine() -> None:
    packages = ("tensorflow", "tf_keras", "numpy", "fedsim-tf", "pyronn-layers")
    versions = ", ".join(f"{name} {version}" for name in packages if (version := _version(name)))
    print(f"Python {platform.python_version()}, {versions}; computing on {device()}")
    build = tf.sysconfig.get_build_info()
    print(f"TensorFlow was built for CUDA {build.get('cuda_version', '-')}, cuDNN {build.get('cudnn_version', '-')}\n")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def print_operators(devices: list[str], size: int) -> None:
    """Print each operator's milliseconds on each device, and how far the results are apart."""
    print("| operator | " + " | ".join(f"{name[:3]}, ms" for name in devices) + " | rms difference |")
    print("|---|" + "---|" * (len(devices) + 1), flush=True)
    for one in list_operators(size):
        times, results = zip(*(_time(one.call, name) for name in devices), strict=True)
        apart = np.sqrt(np.mean((results[0] - results[-1]) ** 2) / np.mean(results[-1] ** 2))
        told = f"{apart:.0e}" if len(devices) > 1 else "-"
        print(f"| {one.name} | " + " | ".join(f"{1e3 * each:.2f}" for each in times) + f" | {told} |", flush=True)


def list_operators(size: int) -> Iterator[Timed]:
    """Yield the cone-beam operators, those of the planar beams, and the shape decoder with its gradient."""
    voxel_mm = EXTENT_MM[0] / size
    scanner = ConeBeamScanner(cone_beam_geometry((size,) * 3, (voxel_mm,) * 3))
    volume, views = tf.constant(body(size)[None]), scanner.range_shape[0]
    sinogram = scanner.project(volume)
    for operator in OPERATORS:
        values = volume if operator in TAKE_VOLUMES else sinogram
        yield Timed(f"cone, {size}^3, {views} views, {operator}", lambda o=operator, v=values: apply(scanner, o, v))
    for beam in ("parallel", "fan"):
        plane = Beam(beam, 2 * size, np.linspace(0.0, 360.0, 2 * size, endpoint=False))
        for operator in OPERATORS:
            values = plane.noise(operator)
            yield Timed(f"{beam}, {2 * size}^2, {operator}", lambda p=plane, o=operator, v=values: p.apply(o, v))
    decoder = ShapeDecoder(open_shape_model(make_config("demo")), Grid.centred((size,) * 3, shape_frame_mm(EXTENT_MM)))
    tau = tf.zeros((4, decoder.ssm.n_modes + N_POSE))
    yield Timed(f"shape decoder, 4 x {size}^3", lambda: decoder(tau))
    yield Timed(f"its gradient, 4 x {size}^3", lambda: _gradient(decoder, tau))


def _gradient(decoder: ShapeDecoder, tau: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
        tape.watch(tau)
        total = tf.reduce_sum(tf.square(decoder(tau)))
    return tape.gradient(total, tau)


def _time(call: Callable[[], tf.Tensor], where: str) -> tuple[float, np.ndarray]:
    """Return the median seconds of a call on a device, and its result in double precision."""
    with tf.device(where):
        result, taken = call().numpy(), []
        for _ in range(REPEATS):
            start = time.perf_counter()
            call().numpy()
            taken.append(time.perf_counter() - start)
    return statistics.median(taken), result.astype(np.float64)


def print_stages(preset: str, devices: list[str], steps: int) -> None:
    """Print the seconds and memory of a step of every stage on each device, in both precisions."""
    print(
        f"\n| {preset} | device | precision | s a step | peak memory so far, MiB | without a GPU kernel | MiB a step |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    for where in devices:
        for precision in ("float32", "bfloat16"):
            config = make_config(preset, model={"vgg_weights": "random", "precision": precision})
            with tf.device(where), _forms_for(where):
                for stage in open_stages(config):
                    known = list_graphs()
                    each = [median_seconds(stage, kind=kind, steps=steps) for kind in range(stage.kinds)]
                    new = [one for one in list_graphs() if not any(one is other for other in known)]
                    words = [stage.name, where[:3], precision, f"{statistics.mean(each):.3f}"]
                    words += [f"{_peak_mib(where):.0f}", *_describe_host_work(new, kinds=stage.kinds)]
                    print("| " + " | ".join(words) + " |", flush=True)


def _forms_for(where: str) -> Any:
    """Return a context in which layers take the forms of convolutions that suit a device."""
    return mock.patch("fedsim_tf.models.device_forms.list_gpus", return_value=[GPU] if where == GPU else [])


def _peak_mib(where: str) -> float:
    if where == GPU:
        return tf.config.experimental.get_memory_info(where)["peak"] / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _describe_host_work(graphs: list[tf.Graph], *, kinds: int) -> tuple[str, str]:
    """Return the kinds of operations that no GPU can do, and the memory of their inputs and results in a step."""
    found = {kind: ones for kind, ones in list_host_operations(graphs).items() if kind not in INPUTS}
    size = sum(map(count_bytes, found.values())) / kinds
    return ", ".join(sorted(found)) or "none", f"{size / 2**20:.2f}" if found else "0"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="*", default=["demo"], choices=PRESETS)
    parser.add_argument("--size", type=int, default=128, help="voxels along an edge, for the operators")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each kind")
    arguments = parser.parse_args()
    main(arguments.presets, size=arguments.size, steps=arguments.steps)
