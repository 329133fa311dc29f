"""Compare the CUDA kernels with the ASTRA toolbox, on the same volumes in the same run.

python -m benchmarks.cone_beam_gpu [--sizes 64 128 256] [--library FILE]

It needs a GPU, `pip install astra-toolbox cupy-cuda13x` and this project's compiled kernels, but no TensorFlow. Times
are medians, with the data on the GPU before and after.
"""

from __future__ import annotations

import argparse
import pathlib

from benchmarks.astra_scan import AstraScan
from benchmarks.bodies import body, difference
from third_party.pyronn_layers.cuda_check import LIBRARY, Library, Scan, circular, describe

TO_DETECTOR_MM, TO_AXIS_MM, FIELD_MM = 1200.0, 800.0, 256.0


def make_scan(size: int) -> Scan:
    voxel, pixel, views = FIELD_MM / size, FIELD_MM / size, max(60, size * 180 // 128)
    distances, detector = (TO_DETECTOR_MM, TO_AXIS_MM), (2 * size, 2 * size)
    name = f"{size}^3, {views} views, {2 * size}^2"
    return circular(name, (size,) * 3, (voxel,) * 3, detector, (pixel, pixel), views, distances=distances, batch=1)


def against_astra(library: Library, size: int, repeats: int) -> None:
    """Print a row for each operator."""
    scan = make_scan(size)
    peer, volume = AstraScan(scan, TO_DETECTOR_MM), body(size)[None]
    sinogram = library.gpu("projection", scan, volume)
    forward_gap = difference(sinogram, peer.project(volume[0]))
    back_gap = difference(library.gpu("projection_adjoint", scan, sinogram), peer.transpose(sinogram[0]))
    forward, back = peer.milliseconds(repeats)
    rows = [
        ("projection", volume, "projection", forward, f"{forward_gap:.0e}"),
        ("projection_adjoint", sinogram, "back-projection", back, f"{back_gap:.0e}"),
        ("backprojection", sinogram, "back-projection", back, "other weights"),
        ("backprojection_adjoint", volume, "projection", forward, "other weights"),
    ]
    for operator, values, theirs, peer_ms, apart in rows:
        ms = library.gpu_ms(operator, scan, values, repeats)
        ratio = f"{peer_ms / ms:.2f}"
        name = operator.replace("_", " ")
        print(f"| {scan.name} | {name} | {ms:.3f} | {theirs} | {peer_ms:.3f} | {ratio} | {apart} |", flush=True)


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
