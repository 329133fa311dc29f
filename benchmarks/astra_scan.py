"""A scan by the ASTRA toolbox, with which times on a GPU are compared."""

from __future__ import annotations

import time
from collections.abc import Callable

import astra
import astra.experimental
import cupy
import numpy as np

from third_party.pyronn_layers.cuda_check import Scan


class AstraScan:
    """A volume and a sinogram on the GPU, where ASTRA reads and writes them; nothing else travels while it works.

    Args:
      scan: has batch 1, equal spacings and a centred volume; sinograms are (rows, views, columns) in ASTRA.
      to_detector_mm: distance from the source to the detector.
    """

    def __init__(self, scan: Scan, to_detector_mm: float) -> None:
        vectors = np.stack([_vector(matrix, scan.detector, to_detector_mm) for matrix in scan.matrices])
        nz, ny, nx = scan.shape
        halves = [n * h / 2 for n, h in zip((nx, ny, nz), scan.spacing[::-1], strict=True)]
        edges = [side * half for half in halves for side in (-1, 1)]
        volume_geometry = astra.create_vol_geom(ny, nx, nz, *edges)
        detector_geometry = astra.create_proj_geom("cone_vec", *scan.detector, vectors)
        self.volume = cupy.zeros(scan.shape, cupy.float32)
        self.sinogram = cupy.zeros((scan.detector[0], len(scan.matrices), scan.detector[1]), cupy.float32)
        self._projector = astra.create_projector("cuda3d", detector_geometry, volume_geometry)

    def project(self, volume: np.ndarray) -> np.ndarray:
        """Return the line integrals (views, rows, columns) of a volume (z, y, x)."""
        self.volume[:] = cupy.asarray(volume)
        self._forward()
        return cupy.asnumpy(self.sinogram).transpose(1, 0, 2)

    def transpose(self, sinogram: np.ndarray) -> np.ndarray:
        """Return ASTRA's back-projection, which is close to the transpose, of a sinogram (views, rows, columns)."""
        self.sinogram[:] = cupy.asarray(sinogram.transpose(1, 0, 2))
        self._back()
        return cupy.asnumpy(self.volume)

    def milliseconds(self, repeats: int) -> tuple[float, float]:
        """Return the median times of projection and back-projection, after two calls that do not count."""
        return _median_ms(self._forward, repeats), _median_ms(self._back, repeats)

    def _forward(self) -> None:
        astra.experimental.direct_FP3D(self._projector, self.volume, self.sinogram)

    def _back(self) -> None:
        astra.experimental.direct_BP3D(self._projector, self.volume, self.sinogram)


def _vector(matrix: np.ndarray, detector: tuple[int, int], to_detector_mm: float) -> np.ndarray:
    """Return source, detector's centre, and steps to the next column and row, in ASTRA's order."""
    inverse = np.linalg.inv(matrix[:, :3])
    source = -inverse @ matrix[:, 3]
    rows, columns = detector
    centre = source + to_detector_mm * inverse @ [columns / 2, rows / 2, 1]
    return np.concatenate([source, centre, to_detector_mm * inverse[:, 0], to_detector_mm * inverse[:, 1]])


def _median_ms(call: Callable[[], None], repeats: int) -> float:
    times = []
    for _ in range(repeats + 2):
        cupy.cuda.runtime.deviceSynchronize()
        start = time.perf_counter()
        call()
        cupy.cuda.runtime.deviceSynchronize()
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times[2:]))
