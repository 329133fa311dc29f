"""Times voxelization and the decoder's gradients, of the heart and by region, beside VTK's PolyDataToImageStencil.

python -m benchmarks.voxelization [--shapes hearts.npz] [--size 128] [--rows_per_voxel 2] [--threads 2]

The peer needs `pip install 'fedsim-tf[meshes]'`. Calls that are compared take turns in one run, and times are medians.
Without --shapes, hearts of the phantom, with each triangle cut into four, stand in for real ones.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import concurrent.futures
import ctypes
import multiprocessing
import pathlib
import re
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import trimesh
import vtk
from scipy.ndimage import gaussian_filter

from benchmarks.vtk_stencil import StencilVoxelizer
from fedsim_tf.phantom.hearts import model_hearts
from fedsim_tf.regions import LABEL_KINDS, PAINTING_ORDER, REGION_IDS
from fedsim_tf.shape.decoder import ShapeDecoder
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.shape.surfaces import CorrespondingShapes

PEERS = ("a stencil each", "one stencil")
FIELD_OF_VIEW_MM = 200.0
_M_MMAP_THRESHOLD = -3  # malloc.h
Calls = Mapping[str, Callable[[], object]]


class Times(NamedTuple):
    """Median times of a call in ms: on the wall's clock and of the processors, which other programs disturb less."""

    wall: float
    cpu: float


def median_times(calls: Calls, repeats: int) -> dict[str, Times]:
    """Return the median times of calls, which take turns, after a first round that is not timed."""
    for call in calls.values():
        call()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: Times(*(1e3 * np.median(values, axis=0))) for name, values in times.items()}


def peak_bytes(call: Callable[[], object]) -> int:
    """Return how far the process's memory rises above what it held before the call (Linux)."""
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 16)  # what is freed goes back to the system at once
    call()
    read = lambda name: 1024 * int(re.search(rf"{name}:\s+(\d+)", status.read_text()).group(1))  # noqa: E731
    status = pathlib.Path("/proc/self/status")
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    before = read("VmRSS")
    call()
    return read("VmHWM") - before


def fit_model(path: str | None) -> StatisticalShapeModel:
    """Return a model with 14 modes of the given shapes, or of the phantom's with each triangle cut into four."""
    if path:
        shapes = CorrespondingShapes.load(path)
    else:
        hearts = model_hearts()
        cut = [trimesh.remesh.subdivide(points, hearts.faces) for points in hearts.points]
        region = np.zeros(len(cut[0][0]), np.uint8)
        region[cut[0][1]] = np.repeat(hearts.region_id[hearts.faces[:, 0]], 4)[:, None]
        shapes = CorrespondingShapes(np.stack([points for points, _ in cut]), cut[0][1].astype(np.int32), region)
    return StatisticalShapeModel.fit(shapes.points, shapes.faces, shapes.region_id, 14)


def product(peer: StencilVoxelizer, points: np.ndarray, upstream: np.ndarray) -> float:
    """Return <upstream, mask> of points (V, 3) with VTK and NumPy."""
    return np.vdot(upstream, peer.mask(points).astype(np.float32))


def product_by_region(peer: StencilVoxelizer, points: np.ndarray, upstream: np.ndarray) -> float:
    """Return the sum over painted regions of <upstream, mask> for upstream (7, z, y, x)."""
    masks = dict(zip(peer.regions, peer.masks(points), strict=True))
    free = np.ones(upstream.shape[1:], np.uint8)
    total = 0.0
    for region in reversed(PAINTING_ORDER):
        total += np.vdot(upstream[region - 1], (masks[region] & free).astype(np.float32))
        free &= 1 - masks[region]
    return total


def smooth_noise(size: int, *, seed: int = 1) -> np.ndarray:
    """Return an upstream gradient (z, y, x) that varies smoothly."""
    return 100 * gaussian_filter(np.random.default_rng(seed).standard_normal((size,) * 3), 6).astype(np.float32)


def traced(call: Callable, *arguments: tf.Tensor) -> Callable[[], object]:
    """Return a call of a traced function with these arguments."""
    function = tf.function(call, autograph=False)
    return lambda: function(*arguments)


def processor() -> str:
    """Return the processor's name (Linux)."""
    names = re.findall(r"model name\s*: (.+)", pathlib.Path("/proc/cpuinfo").read_text())
    return f"{names[0]}, {len(names)} cores" if names else "unknown processor"


class Comparison:
    """The decoders of both kinds of labels, VTK's voxelizers, one posed heart and upstream gradients.

    Args:
      ssm: the shape model.
      size: voxels along each edge.
      rows_per_voxel: rows that sample each voxel along y and along z.
    """

    def __init__(self, ssm: StatisticalShapeModel, *, size: int, rows_per_voxel: int):
        grid = Grid.centred((size,) * 3, (FIELD_OF_VIEW_MM,) * 3)
        self.decoders = {
            (labels, gradient): ShapeDecoder(ssm, grid, gradient, labels=labels, rows_per_voxel=rows_per_voxel)
            for labels in LABEL_KINDS
            for gradient in ("finite_difference", "surface")
        }
        region_of_face = ssm.region_id[ssm.faces[:, 0]]
        self.peers = {
            kind: StencilVoxelizer(ssm.faces, region_of_face, grid, together=kind == "one stencil") for kind in PEERS
        }
        pose = np.array([0.2] * 3 + [2.0] * 3 + [0.1])
        deviations = np.random.default_rng(0).standard_normal((1, 21))
        self.tau = tf.constant(deviations * np.r_[0.5 * np.ones(14), 0.5 * pose], tf.float32)
        self.points = self.decoders["heart", "surface"].points_mm(self.tau)[0].numpy()
        by_region = np.stack([smooth_noise(size, seed=region) for region in REGION_IDS])
        self.upstream = {"heart": by_region[0], "regions": by_region}  # of regions (7, z, y, x)

    def given(self, labels: str, *, one_slice: bool = False) -> tf.Tensor:
        """Return the decoder's upstream gradient (1, z, y, x) or (1, z, y, x, 7)."""
        upstream = self.upstream[labels] if labels == "heart" else np.moveaxis(self.upstream[labels], 0, -1)
        if one_slice:
            middle = len(upstream) // 2
            upstream = np.where(np.arange(len(upstream)).reshape(-1, *[1] * (upstream.ndim - 1)) == middle, upstream, 0)
        return tf.constant(upstream[None], tf.float32)

    def forward(self) -> Calls:
        """Return calls for occupancies and masks."""
        heart, regions = (self.decoders[labels, "surface"] for labels in LABEL_KINDS)
        return {
            "VTK, a stencil each": lambda: self.peers["a stencil each"].masks(self.points),
            "VTK, one stencil": lambda: self.peers["one stencil"].mask(self.points),
            "occupancy": traced(heart, self.tau),
            "occupancy by region": traced(regions, self.tau),
            "label map": traced(heart.label_map, self.tau),
        }

    def backward(self) -> Calls:
        """Return calls for gradients, and for VTK's part of a finite difference: a heart and its product."""
        calls: dict[str, Callable[[], object]] = {}
        for (labels, gradient), decoder in self.decoders.items():
            for one_slice in (False, True):
                step = decoder._central_differences if gradient == "finite_difference" else decoder._surface_integral
                name = f"{gradient}, {labels}" + (", one slice" if one_slice else "")
                calls[name] = traced(step, self.tau, self.given(labels, one_slice=one_slice))
        each, one = self.peers["a stencil each"], self.peers["one stencil"]
        heart, regions = self.upstream["heart"], self.upstream["regions"]
        return calls | {
            "VTK, a stencil each, heart times upstream": lambda: product(each, self.points, heart),
            "VTK, one stencil, heart times upstream": lambda: product(one, self.points, heart),
            "VTK, a stencil each, regions times upstream": lambda: product_by_region(each, self.points, regions),
        }

    def differing_voxels(self) -> float:
        """Return the part of the voxels where our half-full and VTK's mask differ."""
        ours = self.decoders["heart", "surface"](self.tau)[0].numpy() > 0.5
        return float(np.mean(ours != self.peers["a stencil each"].mask(self.points)))


def memory_of_differences(labels: str, shapes: str | None, size: int, rows_per_voxel: int) -> float:
    """Return what finite differences hold, in volumes (z, y, x) of float32, the upstream gradient among it.

    It takes a process of its own: memory that others have freed hides what is needed.
    """
    comparison = Comparison(fit_model(shapes), size=size, rows_per_voxel=rows_per_voxel)
    differentiate = comparison.decoders[labels, "finite_difference"]._central_differences
    call = traced(differentiate, comparison.tau, comparison.given(labels))
    return (peak_bytes(call) + comparison.upstream[labels].nbytes) / comparison.upstream["heart"].nbytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", help="corresponding shapes (.npz)")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rows_per_voxel", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=21)
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    vtk.vtkSMPTools.Initialize(arguments.threads)
    vtk.vtkMultiThreader.SetGlobalMaximumNumberOfThreads(arguments.threads)

    ssm = fit_model(arguments.shapes)
    comparison = Comparison(ssm, size=arguments.size, rows_per_voxel=arguments.rows_per_voxel)
    print(f"{processor()}; {arguments.threads} threads, {len(ssm.faces)} faces, {arguments.size}^3 voxels, ", end="")
    print(f"{arguments.rows_per_voxel}^2 rows a voxel; medians of {arguments.repeats}")
    print(f"voxels where our half-full and VTK's mask differ: {comparison.differing_voxels():.2e}")
    for labels in LABEL_KINDS:
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            given = labels, arguments.shapes, arguments.size, arguments.rows_per_voxel
            volumes = process.submit(memory_of_differences, *given).result()
        print(f"memory of finite differences, {labels}: {volumes:.1f} volumes")
    times = median_times(comparison.forward(), arguments.repeats) | median_times(
        comparison.backward(), arguments.repeats
    )
    print("\n| work | ms | processors' ms |\n|---|---|---|")
    for name, (wall, cpu) in times.items():
        print(f"| {name} | {wall:.2f} | {cpu:.2f} |")
    print("\n| comparison | times | in processors' time |\n|---|---|---|")
    hearts = 2 * comparison.tau.shape[1]  # perturbed in finite differences
    for factor, slower, faster in (
        (1, "occupancy by region", "occupancy"),
        (1, "VTK, a stencil each", "occupancy"),
        (1, "VTK, one stencil", "occupancy"),
        (1, "VTK, a stencil each", "occupancy by region"),
        (1, "VTK, a stencil each", "label map"),
        (1, "finite_difference, regions", "finite_difference, heart"),
        (1, "finite_difference, heart", "finite_difference, heart, one slice"),
        (1, "finite_difference, regions", "finite_difference, regions, one slice"),
        (hearts, "VTK, a stencil each, heart times upstream", "finite_difference, heart"),
        (hearts, "VTK, one stencil, heart times upstream", "finite_difference, heart"),
        (hearts, "VTK, a stencil each, regions times upstream", "finite_difference, regions"),
        (1, "surface, regions", "surface, heart"),
        (1, "finite_difference, heart", "surface, heart"),
        (1, "finite_difference, regions", "surface, regions"),
    ):
        wall, cpu = (factor * a / b for a, b in zip(times[slower], times[faster], strict=True))
        print(f"| {f'{factor} x ' if factor > 1 else ''}{slower} / {faster} | {wall:.2f} | {cpu:.2f} |")


if __name__ == "__main__":
    main()
