"""Times voxelization and the decoder's gradients beside VTK's PolyDataToImageStencil.

python -m benchmarks.voxelization [--shapes hearts.npz] [--size 128] [--rows_per_voxel 2] [--threads 2]

The peer needs `pip install 'fedsim-tf[meshes]'`. Everything is measured in one run, and times are medians. Without
--shapes, hearts of the phantom, with each triangle cut into four, stand in for real ones.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import trimesh
import vtk
from scipy.ndimage import gaussian_filter

from benchmarks.vtk_stencil import StencilVoxelizer
from fedsim_tf.phantom.hearts import model_hearts
from fedsim_tf.shape.decoder import ShapeDecoder
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.shape.surfaces import CorrespondingShapes
from fedsim_tf.shape.voxelize import label_map, occupancy

GRADIENTS = ("finite_difference", "surface")
PEERS = ("a stencil each", "one stencil")

FIELD_OF_VIEW_MM = 200.0


def median_ms(call: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call in ms, after a first call that is not timed."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


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


def products_with_vtk(
    peer: StencilVoxelizer, decoder: ShapeDecoder, tau: tf.Tensor, upstream: np.ndarray
) -> np.ndarray:
    """Return the decoder's central differences, made with VTK's mask of each perturbed heart."""
    steps = np.diag(decoder.steps)
    moved = decoder.points_mm(tau + np.concatenate([steps, -steps])).numpy()
    products = np.array([np.vdot(upstream, peer.mask(points).astype(np.float32)) for points in moved])
    return (products[: len(steps)] - products[len(steps) :]) / (2 * decoder.steps)


def smooth_noise(size: int) -> np.ndarray:
    """Return an upstream gradient (z, y, x) that varies smoothly."""
    return 100 * gaussian_filter(np.random.default_rng(1).standard_normal((size,) * 3), 6).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", help="corresponding shapes (.npz)")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rows_per_voxel", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    vtk.vtkSMPTools.Initialize(arguments.threads)
    vtk.vtkMultiThreader.SetGlobalMaximumNumberOfThreads(arguments.threads)

    ssm = fit_model(arguments.shapes)
    size = arguments.size
    grid = Grid.centred((size,) * 3, (FIELD_OF_VIEW_MM,) * 3)
    rng = np.random.default_rng(0)
    pose = np.array([0.2] * 3 + [2.0] * 3 + [0.1])
    tau = tf.constant(rng.standard_normal((1, 21)) * np.r_[0.5 * np.ones(14), 0.5 * pose], tf.float32)
    decoders = {name: ShapeDecoder(ssm, grid, name, rows_per_voxel=arguments.rows_per_voxel) for name in GRADIENTS}
    forward = decoders["surface"]
    points = forward.points_mm(tau)[0].numpy()
    region_of_face = ssm.region_id[ssm.faces[:, 0]]
    peers = {kind: StencilVoxelizer(ssm.faces, region_of_face, grid, together=kind == "one stencil") for kind in PEERS}
    peer_ms = {kind: median_ms(lambda peer=peer: peer.mask(points), 7) for kind, peer in peers.items()}
    print(f"{len(ssm.faces)} faces, {size}^3, {arguments.rows_per_voxel}^2 rows a voxel, {arguments.threads} threads")
    for kind, ms in peer_ms.items():
        print(f"VTK, {kind}: {ms:.1f} ms")
    rows = {"rows_per_voxel": arguments.rows_per_voxel}
    voxelize = tf.function(lambda given: occupancy(given, ssm.faces, grid, **rows), autograph=False)
    given = tf.constant(points)
    ours_ms = median_ms(lambda: voxelize(given), 21)
    times = ", ".join(f"{ms / ours_ms:.1f} times faster than {kind}" for kind, ms in peer_ms.items())
    print(f"occupancy: {ours_ms:.2f} ms; {times}")
    paint = tf.function(lambda given: label_map(given, ssm.faces, ssm.region_id, grid, **rows), autograph=False)
    label_ms = median_ms(lambda: paint(given), 21)
    print(f"label map of seven regions: {label_ms:.2f} ms; {peer_ms['a stencil each'] / label_ms:.1f} times faster")
    union = peers["a stencil each"].mask(points)
    print(f"voxels where our half-full and VTK's mask differ: {np.mean((forward(tau)[0].numpy() > 0.5) != union):.2e}")

    upstream = smooth_noise(size)
    one = np.zeros_like(upstream)
    one[size // 2] = upstream[size // 2]
    whole_ms = {}
    for name, decoder in decoders.items():
        differentiate = decoder._central_differences if name == "finite_difference" else decoder._surface_integral
        step = tf.function(differentiate, autograph=False)
        for extent, volume in (("whole volume", upstream), ("one slice", one)):
            given = tf.constant(volume[None])
            whole_ms[name, extent] = median_ms(lambda s=step, v=given: s(tau, v), 11)
            print(f"{name}, {extent}: {whole_ms[name, extent]:.2f} ms")
    for kind, peer in peers.items():
        ms = median_ms(lambda peer=peer: products_with_vtk(peer, decoders["surface"], tau, upstream), 1)
        times = ms / whole_ms["finite_difference", "whole volume"]
        print(
            f"VTK, {kind}, 42 voxelizations and products: {ms:.0f} ms; finite differences are {times:.1f} times faster"
        )


if __name__ == "__main__":
    main()
