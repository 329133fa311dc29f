"""The CUDA kernels against the ASTRA toolbox, on the same volumes in the same run.

python -m benchmarks.cone_beam_gpu [--sizes 64 128 256] [--library FILE]

Needs a GPU and `pip install astra-toolbox cupy-cuda13x`, and of this project the compiled kernels alone, no TensorFlow.
Times are medians, with the data on the GPU before and after.
"""

from __future__ import annotations

import argparse
import pathlib

import numpy as np

from benchmarks.astra_scan import AstraScan
from third_party.pyronn_layers.cuda_check import LIBRARY, Library, Scan, circular, describe

TO_DETECTOR_MM, TO_AXIS_MM, FIELD_MM = 1200.0, 800.0, 256.0


def scan_of(size: int) -> Scan:
    voxel, pixel, views = FIELD_MM / size, FIELD_MM / size, max(60, size * 180 // 128)
    distances, detector = (TO_DETECTOR_MM, TO_AXIS_MM), (2 * size, 2 * size)
    name = f"{size}^3, {views} views, {2 * size}^2"
    return circular(name, (size,) * 3, (voxel,) * 3, detector, (pixel, pixel), views, distances=distances, batch=1)


def ball(size: int) -> np.ndarray:
    """A smooth ball with ripples, within the volume: (1, size, size, size)."""
    z, y, x = np.meshgrid(*[(np.arange(size) + 0.5) / size * 2 - 1] * 3, indexing="ij")
    radius = np.sqrt((x / 0.8) ** 2 + (y / 0.7) ** 2 + (z / 0.6) ** 2)
    return (np.clip((1 - radius) * 8, 0, 1) * (1 + 0.2 * np.sin(9 * x) * np.cos(7 * y))).astype(np.float32)[None]


def gap(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Root mean square of the difference over that of theirs, two elements away from the borders."""
    inner = (slice(2, -2),) * 3
    a, b = ours[0][inner].astype(np.float64), theirs[inner].astype(np.float64)
    return float(np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2)))


def against_astra(library: Library, size: int, repeats: int) -> None:
    """Prints a row for each operator."""
    scan = scan_of(size)
    peer, volume = AstraScan(scan, TO_DETECTOR_MM), ball(size)
    sinogram = library.gpu("projection", scan, volume)
    forward_gap = gap(sinogram, peer.project(volume[0]))
    back_gap = gap(library.gpu("projection_adjoint", scan, sinogram), peer.transpose(sinogram[0]))
    forward, back = peer.milliseconds(repeats)
    rows = [
        ("projection", volume, "projection", forward, f"{forward_gap:.0e}"),
        ("projection_adjoint", sinogram, "back-projection", back, f"{back_gap:.0e}"),
        ("backprojection", sinogram, "back-projection", back, "other weights"),
        ("backprojection_adjoint", volume, "projection", forward, "other weights"),
    ]
    for operator, values, theirs, peer_ms, difference in rows:
        ms = library.gpu_ms(operator, scan, values, repeats)
        ratio = f"{peer_ms / ms:.2f}"
        name = operator.replace("_", " ")
        print(f"| {scan.name} | {name} | {ms:.3f} | {theirs} | {peer_ms:.3f} | {ratio} | {difference} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[64, 128, 256])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--library", type=pathlib.Path, default=LIBRARY)
    options = parser.parse_args()
    library = Library(options.library.resolve())
    describe(library.device())
    print("\n| scan | operator | ms | ASTRA's | ms | times faster | rms difference |\n|---|---|---|---|---|---|---|")
    for size in options.sizes:
        against_astra(library, size, options.repeats)


if __name__ == "__main__":
    main()
