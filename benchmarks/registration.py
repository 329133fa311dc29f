"""Times group-wise registration of hearts from their label maps beside pycpd, and measures the model that it gives.

python -m benchmarks.registration [--shapes hearts.npz] [--voxel_mm 0.8] [--points 4000] [--threads 2]

Corresponding shapes, by default the phantom's adults, are turned at random, voxelized to label maps, and registered
from these alone. The peer needs `pip install pycpd`; a few of its iterations of one pair are timed.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time

import numpy as np
from pycpd import DeformableRegistration
from scipy.spatial.transform import Rotation
from threadpoolctl import threadpool_limits

from fedsim_tf.phantom.hearts import ADULTS, draw_hearts
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.label_surfaces import LabelSurface, label_surface, sample
from fedsim_tf.shape.quality import generalisation
from fedsim_tf.shape.registration import RegistrationOptions, register_groupwise
from fedsim_tf.shape.surfaces import CorrespondingShapes
from fedsim_tf.shape.voxelize import label_map
from fedsim_tf.volume import Geometry, Volume

MARGIN_MM = 6.0
TILT_DEGREES, SHIFT_MM = 10.0, 20.0
PEER_ITERATIONS = 4
PEER_ITERATIONS_WANTED = 100  # pycpd's default


def turn(shapes: CorrespondingShapes) -> CorrespondingShapes:
    """Return each shape in another pose, so that nothing is aligned."""
    rng = np.random.default_rng(0)
    points = []
    for each in shapes.points:
        rotation = Rotation.from_rotvec(np.radians(TILT_DEGREES) * rng.standard_normal(3))
        points.append(rotation.apply(each - each.mean(axis=0)) + rng.uniform(-SHIFT_MM, SHIFT_MM, 3))
    return CorrespondingShapes(np.stack(points).astype(np.float32), shapes.faces, shapes.region_id)


def make_surface(points: np.ndarray, shapes: CorrespondingShapes, *, voxel_mm: float, name: str) -> LabelSurface:
    """Return the surface of a heart, read back from its label map."""
    low, high = points.min(axis=0) - MARGIN_MM, points.max(axis=0) + MARGIN_MM
    count = np.ceil((high - low) / voxel_mm).astype(int)
    grid = Grid(tuple(count[::-1].tolist()), (voxel_mm,) * 3, tuple(low.tolist()))
    labels = label_map(points, shapes.faces, shapes.region_id, grid).numpy()
    place = Geometry(grid.spacing_mm, grid.origin_mm, tuple(np.eye(3).ravel().tolist()))
    return label_surface(Volume(labels, place), identity=name)


def seconds_per_peer_iteration(fixed: LabelSurface, moving: LabelSurface, *, points: int, threads: int) -> float:
    """Return the median time of one iteration of pycpd."""
    clouds = [sample(surface, points, 0).points for surface in (fixed, moving)]
    times = []
    peer = DeformableRegistration(X=clouds[0], Y=clouds[1], max_iterations=PEER_ITERATIONS, tolerance=0.0)
    last = time.perf_counter()

    def lap(**_: object) -> None:
        nonlocal last
        now = time.perf_counter()
        times.append(now - last)
        last = now

    with threadpool_limits(threads):
        peer.register(lap)
    return float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", help="corresponding shapes (.npz)")
    parser.add_argument("--voxel_mm", type=float, default=0.8)
    parser.add_argument("--points", type=int, default=4000)
    parser.add_argument("--modes", type=int, default=14)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    given = CorrespondingShapes.load(arguments.shapes) if arguments.shapes else draw_hearts(ADULTS, 19, seed=3)
    truth = turn(given)
    start = time.perf_counter()
    surfaces = [
        make_surface(points, truth, voxel_mm=arguments.voxel_mm, name=f"heart {k + 1}")
        for k, points in enumerate(truth.points)
    ]
    surfaces_s = time.perf_counter() - start
    count = arguments.points
    options = RegistrationOptions(components=count, points=count, fine_points=4 * count, workers=arguments.threads)
    start = time.perf_counter()
    say = lambda done, total, text: print(done, total, text, end="\r")  # noqa: E731
    found = register_groupwise(surfaces, options, progress=say).shapes
    ours_s = time.perf_counter() - start
    print(f"\n{len(surfaces)} hearts, {found.points.shape[1]} vertices; surfaces of label maps {surfaces_s:.0f} s")
    print(f"group-wise registration: {ours_s:.0f} s")
    peer_s = seconds_per_peer_iteration(surfaces[0], surfaces[1], points=count, threads=arguments.threads)
    pairs_s = peer_s * PEER_ITERATIONS_WANTED * (len(surfaces) - 1)
    print(f"pycpd, deformable, one pair: {peer_s:.2f} s an iteration")
    print(
        f"  {PEER_ITERATIONS_WANTED} iterations of {len(surfaces) - 1} pairs: {pairs_s / 60:.0f} min (extrapolated), ",
        end="",
    )
    print(f"{pairs_s / ours_s:.1f} times ours")
    own = [(points, truth.faces, truth.region_id) for points in truth.points]
    left_out = generalisation(found, arguments.modes, own).surface_mm
    left_out_given = generalisation(truth, arguments.modes).surface_mm
    print(f"leave-one-out, {arguments.modes} modes, mean surface distance: {left_out.mean():.3f} mm; ", end="")
    print(f"given correspondences {left_out_given.mean():.3f} mm; ratio {left_out.mean() / left_out_given.mean():.3f}")
    print("| heart | ours, mm | given, mm |\n|---|---|---|")
    for k, (a, b) in enumerate(zip(left_out, left_out_given, strict=True)):
        print(f"| {k + 1} | {a:.2f} | {b:.2f} |")


if __name__ == "__main__":
    main()
