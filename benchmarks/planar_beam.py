"""Compare the parallel- and fan-beam operators with scikit-image's radon and iradon, and check their transposes.

python -m benchmarks.planar_beam [--size 512] [--views 360] [--threads 2] [--rounds 3]

Both get the same disc in the same run. Every round measures each of ours five times, then the peers once; times are
medians, by the clock and of the processor, which other work on the machine changes less. scikit-image has no fan beam:
its parallel beam stands in for it, with as many views and columns.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from pyronn.ct_reconstruction.geometry.geometry_fan_2d import GeometryFan2D
from pyronn.ct_reconstruction.geometry.geometry_parallel_2d import GeometryParallel2D
from skimage.transform import iradon, radon

from pyronn_layers.planar_geometry import PlanarGeometry, read_planar_geometry
from pyronn_layers.planar_operators import _apply
from pyronn_layers.values import ADJOINTS, TAKE_VOLUMES

OURS_PER_PEER = 5
FAN_COLUMN_MM = 1.55  # so that as many columns as pixels see all of the disc in the image
PEERS = {"projection": "radon", "projection_adjoint": "iradon", "backprojection": "iradon"}
PEERS |= {"backprojection_adjoint": "radon"}


class Beam:
    """One beam's operators, with 1 mm pixels; in a fan the magnification is 1.5, and all of the image is in sight."""

    def __init__(self, name: str, size: int, angles: np.ndarray):
        self.name, views, circle = name, len(angles), 2 * np.pi
        if name == "parallel":
            made = GeometryParallel2D([size, size], [1.0, 1.0], size, 1.0, views, circle)
            made.volume_origin, made.detector_origin = np.full(2, -(size // 2)), np.full(1, -(size // 2))  # theirs
        else:
            made = GeometryFan2D([size, size], [1.0, 1.0], size, FAN_COLUMN_MM, views, circle, 3.0 * size, 2.0 * size)
        turned = np.deg2rad(-90.0 - angles)  # scikit-image turns the other way
        rays = np.stack([np.cos(turned), np.sin(turned)], -1)
        lengths = (made.volume_origin, made.detector_origin, made.volume_spacing, made.detector_spacing)
        distances = (made.source_isocenter_distance or 0.0, made.source_detector_distance or 0.0)
        self.geometry: PlanarGeometry = read_planar_geometry(name, *lengths, rays, distances)
        self.image_shape, self.sinogram_shape = (size, size), (views, int(made.detector_shape[0]))

    def apply(self, operator: str, values: tf.Tensor) -> tf.Tensor:
        shape = self.sinogram_shape if operator in TAKE_VOLUMES else self.image_shape
        return _apply(operator, values, "shape", shape, self.geometry)

    def call(self, operator: str) -> Callable[[], Any]:
        """Return a call of an operator on noise."""
        values = self.noise(operator)
        return lambda: self.apply(operator, values).numpy()

    def noise(self, operator: str) -> tf.Tensor:
        shape = self.image_shape if operator in TAKE_VOLUMES else self.sinogram_shape
        values = np.random.default_rng(0).standard_normal((1, *shape))
        return tf.constant(values, tf.float32)

    def asymmetry(self, operator: str) -> float:
        """Return |<Ax, y> - <x, A'y>| relative to |Ax| |y|, summed in double."""
        x, y = self.noise(operator), self.noise(ADJOINTS[operator])
        forward, back = (self.apply(*each).numpy().astype(float) for each in ((operator, x), (ADJOINTS[operator], y)))
        gap = np.sum(forward * y.numpy()) - np.sum(back * x.numpy())
        return float(abs(gap) / (np.linalg.norm(forward) * np.linalg.norm(y)))


def disc(size: int) -> np.ndarray:
    """Return a disc with a smooth rim and waves within, (y, x)."""
    y, x = np.meshgrid(*[np.arange(size) - (size - 1) / 2] * 2, indexing="ij")
    inside = np.clip((0.4 * size - np.hypot(x, y)) / 8 + 0.5, 0, 1)
    return (inside * (1 + 0.2 * np.sin(x / 15) * np.cos(y / 12))).astype(np.float32)


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the relative root mean square difference."""
    return float(np.sqrt(np.mean((ours - theirs) ** 2) / np.mean(theirs**2)))


def seconds(call: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds of a call by the clock, and those of all threads on processors."""
    start, start_cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start, time.process_time() - start_cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--views", type=int, default=360)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="the detector does not see")  # by the half pixel that centres differ
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    angles = np.linspace(0.0, 180.0, options.views, endpoint=False)
    beams = [Beam(name, options.size, angles) for name in ("parallel", "fan")]
    image = disc(options.size)
    sinogram = radon(image, angles).astype(np.float32)
    peers = {"radon": lambda: radon(image, angles), "iradon": lambda: iradon(sinogram, angles, filter_name=None)}
    ours = {(beam.name, operator): beam.call(operator) for beam in beams for operator in PEERS}
    times: dict[Any, list[tuple[float, float]]] = {key: [] for key in (*ours, *peers)}
    loads = [os.getloadavg()[0]]
    for call in ours.values():
        call()
    for _ in range(options.rounds):
        for key, call in ours.items():
            times[key] += [seconds(call) for _ in range(OURS_PER_PEER)]
        for key, call in peers.items():
            times[key].append(seconds(call))
    loads.append(os.getloadavg()[0])
    load = " to ".join(f"{each:.1f}" for each in loads)
    print(f"\n{options.size}^2, {options.views} views, {options.threads} threads; load {load}")
    titles = ("beam", "operator", "ms", "CPU ms", "scikit-image", "s", "CPU s", "times faster", "by CPU", "transpose")
    print("\n| " + " | ".join(titles) + " |\n" + "|---" * len(titles) + "|")
    for beam in beams:
        for operator, peer in PEERS.items():
            mine, other = (np.median(times[key], axis=0) for key in ((beam.name, operator), peer))
            row = [beam.name, operator.replace("_", " "), *(f"{1e3 * each:.0f}" for each in mine)]
            row += [peer, *(f"{each:.2f}" for each in other), *(f"{each:.0f}" for each in other / mine)]
            print("| " + " | ".join([*row, f"{beam.asymmetry(operator):.0e}"]) + " |")
    found = beams[0].apply("projection", tf.constant(image[None]))[0].numpy()
    back = beams[0].apply("backprojection", tf.constant(sinogram.T[None]))[0].numpy() / 2  # theirs is for half a circle
    y, x = np.meshgrid(*[np.arange(options.size) - options.size // 2] * 2, indexing="ij")
    inside = np.hypot(x, y) < options.size // 2 - 1
    gaps = difference(found, sinogram.T), difference(back * inside, peers["iradon"]() * inside)
    print(f"\nrms difference from scikit-image's parallel beam: {gaps[0]:.0e} and {gaps[1]:.0e} (back)")


if __name__ == "__main__":
    main()
