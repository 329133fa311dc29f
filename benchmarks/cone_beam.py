"""Compare the cone-beam operators with itk-rtk and with the machine's limits, and time them over sizes.

python -m benchmarks.cone_beam [--sizes 32 64 128 256] [--threads 2] [--plot FILE]

The peer needs `pip install itk-rtk==2.7.*`. Everything is measured in one run and times are medians.
benchmarks/README.md shows what it prints.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from pyronn.ct_reconstruction.geometry.geometry_cone_3d import GeometryCone3D

from benchmarks.bodies import body, difference
from benchmarks.native_operators import OPERATORS, apply
from benchmarks.rtk import RtkScan
from fedsim_tf.ct.atlas import FixedAtlas, render
from fedsim_tf.ct.scanner import ConeBeamScanner
from fedsim_tf.ct.simulator import CTSimulator
from pyronn_layers.values import TAKE_VOLUMES

OPERATIONS_PER_INTERPOLATION = 8  # a bilinear mean, evaluated directly
REPEATS_IN_GRAPH = 10
OURS_PER_PEER = 5


class Scan(NamedTuple):
    """One scan by our operators and by the peer."""

    scanner: ConeBeamScanner
    peer: RtkScan


def make_scan(size: int, threads: int) -> Scan:
    peer = RtkScan(size, max(60, size * 180 // 128), 2 * size, threads=threads)
    geometry = GeometryCone3D(
        volume_shape=[size] * 3,
        volume_spacing=[peer.voxel_mm] * 3,
        detector_shape=[peer.detector] * 2,
        detector_spacing=[peer.pixel_mm] * 2,
        number_of_projections=peer.views,
        angular_range=2 * np.pi,
        source_detector_distance=peer.detector_mm,
        source_isocenter_distance=peer.source_mm,
    )
    geometry.set_trajectory(peer.matrices)
    return Scan(ConeBeamScanner(geometry), peer)


def measure_seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def median_seconds(call: Callable[[], Any], repeats: int) -> float:
    call()
    return float(np.median([measure_seconds(call) for _ in range(repeats)]))


def against_peer(size: int, threads: int) -> None:
    scanner, peer = make_scan(size, threads)
    volume = body(size)
    sinogram = peer.project(volume)
    x, y = tf.constant(volume[None]), tf.constant(sinogram[None])
    joseph, transpose = lambda: peer.project(volume), lambda: peer.transpose(sinogram)
    rows = [
        ("forward", 10, lambda: apply(scanner, "projection", x), joseph),
        ("exact adjoint", 30, lambda: apply(scanner, "projection_adjoint", y), transpose),
        ("Feldkamp", 5, lambda: scanner.reconstruct(y), lambda: peer.reconstruct(sinogram)),
        ("forward, any matrices", 2, lambda: apply(scanner, "projection", x, path="any"), joseph),
        ("adjoint, any matrices", 2, lambda: apply(scanner, "projection_adjoint", y, path="any"), transpose),
    ]
    print(f"\n{size}^3, {peer.views} views, {peer.detector}^2, {threads} threads\n")
    print("| work | ours (s) | itk-rtk (s) | times faster | wanted | rms difference |\n|---|---|---|---|---|---|")
    for name, wanted, ours, theirs in rows:
        a, b = paired_medians(ours, theirs, 3)
        gap = difference(ours(), theirs())
        print(f"| {name} | {a:.3f} | {b:.2f} | {b / a:.1f} | {wanted} | {gap:.0e} |", flush=True)


def paired_medians(ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Return the median times of both, measured in turn, so that what else the machine does meets both alike."""
    ours(), theirs()
    mine, others = [], []
    for _ in range(repeats):
        mine += [measure_seconds(ours) for _ in range(OURS_PER_PEER)]
        others.append(measure_seconds(theirs))
    return float(np.median(mine)), float(np.median(others))


def machine_peaks() -> tuple[float, float]:
    """Return the GFLOP/s of a large product, and the GB/s that TensorFlow moves in a negation."""
    a, big = tf.random.normal((2048, 2048)), tf.random.normal((64 * 2**20,))
    product = median_seconds(lambda: tf.matmul(a, a).numpy(), 5)
    moved = median_seconds(lambda: tf.negative(big)[0].numpy(), 5)
    return 2 * 2048**3 / product / 1e9, 2 * 4 * big.shape[0] / moved / 1e9


def over_sizes(sizes: list[int], threads: int, plot: str | None) -> None:
    operations, bandwidth = machine_peaks()
    print(f"\nThe machine: {operations:.0f} G operations/s in a large product, {bandwidth:.1f} GB/s moved.\n")
    print("| size | views | operator | ms | G interpolations/s | share of arithmetic | of memory rate |")
    print("|---|---|---|---|---|---|---|")
    found: dict[int, list[float]] = {}
    for size in sizes:
        scanner, peer = make_scan(size, threads)
        given = {True: tf.ones((1, *scanner.domain_shape)), False: tf.ones((1, *scanner.range_shape))}
        moved = 4e-9 * sum(int(tf.size(each)) for each in given.values())
        crossed = float(tf.reduce_sum(apply(scanner, "projection", given[True]))) / peer.voxel_mm
        found[size] = []
        for operator in OPERATORS:
            call = lambda o=operator, v=given[operator in TAKE_VOLUMES], s=scanner: apply(s, o, v)  # noqa: E731
            seconds = median_seconds(call, 3 if size > 128 else 9)
            rate = 1e-9 * (peer.views * size**3 if "back" in operator else crossed) / seconds
            shares = f"{rate * OPERATIONS_PER_INTERPOLATION / operations:.0%} | {moved / seconds / bandwidth:.0%}"
            name = operator.replace("_", " ")
            print(f"| {size} | {peer.views} | {name} | {1e3 * seconds:.1f} | {rate:.2f} | {shares} |", flush=True)
            found[size].append(1e3 * seconds)
    if plot:
        draw(found, plot)


def draw(found: dict[int, list[float]], path: str) -> None:
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    sizes = sorted(found)
    for k, operator in enumerate(OPERATORS):
        axes.loglog(sizes, [found[size][k] for size in sizes], "o-", label=operator.replace("_", " "))
    fourth = [found[sizes[0]][0] * (size / sizes[0]) ** 4 for size in sizes]
    axes.loglog(sizes, fourth, "k:", label="size to the fourth")
    axes.set(xlabel="voxels along each edge", ylabel="milliseconds", xticks=sizes, xticklabels=sizes)
    axes.minorticks_off()
    axes.legend()
    figure.savefig(path, dpi=110)


def simulator() -> None:
    """Time the paper's coarse simulator, forward and gradient: 16^3, 60 views, 32^2, batch 8."""
    layer = CTSimulator((16,) * 3, (16.0,) * 3)
    scanner = layer.scanner
    mu, weights = tf.random.uniform((8, 16, 16, 16)), tf.random.uniform((8, 16, 16, 16))

    @tf.function
    def step(values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(values)
            loss = tf.reduce_sum(layer(values) * weights)
        return loss, tape.gradient(loss, values)  # both: the gradient of a linear map alone needs no forward pass

    def often(operator: str) -> Callable[[], tf.Tensor]:
        """Return a call of an operator several times in one graph, so that calling the graph does not count."""
        values = mu if operator in TAKE_VOLUMES else scanner.project(mu)

        @tf.function
        def repeated(given: tf.Tensor) -> tf.Tensor:
            total = tf.zeros(())
            for _ in range(REPEATS_IN_GRAPH):
                total = apply(scanner, operator, given + 1e-30 * total)[0, 0, 0, 0]
            return total

        return lambda: repeated(values)

    empty = tf.function(lambda values: values + 1.0)
    calls = {"whole": lambda: step(mu), "empty": lambda: empty(mu), **{o: often(o) for o in OPERATORS}}
    ms = {name: 1e3 * seconds for name, seconds in interleaved_medians(calls, 40).items()}
    parts = {operator: ms[operator] / REPEATS_IN_GRAPH for operator in OPERATORS}
    print(f"\n16^3, 60 views, 32^2, batch 8, forward and gradient: {ms['whole']:.2f} ms (wanted: at most 8)\n")
    for name, part in parts.items():
        print(f"- {name.replace('_', ' ')}: {part:.2f} ms")
    print(
        f"- all else (weights, filter, calls): {ms['whole'] - sum(parts.values()):.2f} ms; "
        f"an empty function: {ms['empty']:.2f} ms"
    )


def interleaved_medians(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each call; every round measures all of them once."""
    for call in calls.values():
        call()
    times = {name: [] for name in calls}  # type: dict[str, list[float]]
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(measure_seconds(call))
    return {name: float(np.median(each)) for name, each in times.items()}


def fixed_material(size: int = 128) -> None:
    layer, atlas = CTSimulator((size,) * 3, (256.0 / size,) * 3), FixedAtlas()
    hu = tf.constant(body(size)[None] * 5e4 - 1000.0)
    heart = tf.constant((body(size)[None] > 0.019).astype(np.float32))
    drawn = lambda: render(atlas.add_heart(atlas.body(hu), heart), layer, atlas.energy_kev)  # noqa: E731
    print(f"\nFixed-material rendering at {size}^3: {median_seconds(drawn, 3):.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[32, 64, 128, 256])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--plot", help="file for a plot of times over sizes")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    against_peer(128, options.threads)
    simulator()
    fixed_material()
    if options.sizes:
        over_sizes(options.sizes, options.threads, options.plot)


if __name__ == "__main__":
    main()
