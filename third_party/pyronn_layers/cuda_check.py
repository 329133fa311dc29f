"""Compare the CUDA kernels with the CPU's and time them. This needs NumPy and libpyronn_cone_cuda.so, not TensorFlow.

    python cuda_check.py              # on a machine with a GPU
    python cuda_check.py --emulate    # the same arithmetic on the CPU, small cases only

The exit status is 0 if all agree, 1 if not, and 2 if there is nothing to check with.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import os
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

LIBRARY = pathlib.Path(__file__).parent / "pyronn_layers" / "libpyronn_cone_cuda.so"
OPERATORS = ("projection", "projection_adjoint", "backprojection", "backprojection_adjoint")
TAKE_VOLUMES = ("projection", "backprojection_adjoint")
MOST_RMS = 1e-4  # relative to the CPU's result
MOST_ASYMMETRY = 1e-5  # difference of <Ax, y> and <x, A'y>, relative to |Ax| |y|
CORES = {(7, 5): 64, (8, 0): 64}  # float32 units of a multiprocessor; 128 since


class _Arguments(ctypes.Structure):
    _fields_ = (
        ("volume_shape", ctypes.c_int64 * 3),
        ("detector_shape", ctypes.c_int64 * 2),
        ("volume_origin", ctypes.c_double * 3),
        ("volume_spacing", ctypes.c_double * 3),
        ("projection_matrices", ctypes.c_void_p),
        ("views", ctypes.c_int64),
    )


class _Geometry(ctypes.Structure):
    _fields_ = (
        ("volume", ctypes.c_int64 * 3),
        ("spacing", ctypes.c_double * 3),
        ("rows", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("views", ctypes.c_int64),
        ("numbers", ctypes.c_void_p),
        ("separable", ctypes.c_int32),
    )


class _PlanarArguments(ctypes.Structure):
    _fields_ = (
        ("image_shape", ctypes.c_int64 * 2),
        ("columns", ctypes.c_int64),
        ("volume_origin", ctypes.c_double * 2),
        ("volume_spacing", ctypes.c_double * 2),
        ("detector_origin", ctypes.c_double),
        ("detector_spacing", ctypes.c_double),
        ("fan", ctypes.c_int32),
        ("source_isocenter", ctypes.c_double),
        ("source_detector", ctypes.c_double),
        ("rays", ctypes.c_void_p),
        ("views", ctypes.c_int64),
    )


class _PlanarGeometry(ctypes.Structure):
    _fields_ = (
        ("image", ctypes.c_int64 * 2),
        ("spacing", ctypes.c_double * 2),
        ("columns", ctypes.c_int64),
        ("views", ctypes.c_int64),
        ("scale", ctypes.c_double),
        ("numbers", ctypes.c_void_p),
        ("fan", ctypes.c_int32),
    )


class _Device(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char * 256),
        ("major", ctypes.c_int32),
        ("minor", ctypes.c_int32),
        ("multiprocessors", ctypes.c_int32),
        ("clock_ghz", ctypes.c_double),
        ("bandwidth_gb_s", ctypes.c_double),
        ("l2_bytes", ctypes.c_int64),
        ("driver", ctypes.c_int32),
        ("runtime", ctypes.c_int32),
    )


@dataclasses.dataclass(frozen=True)
class Scan:
    """A scan in the form that the operators take: lengths in mm, axes (z, y, x), matrices (views, 3, 4)."""

    name: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    detector: tuple[int, int]
    matrices: np.ndarray
    multiplier: float = 1e5
    batch: int = 2

    FUNCTIONS = "pyronn_cone"
    # Useful operations for one bilinear value, counted in the source: position, weights, blending.
    FLOPS: ClassVar = {"projection": 28, "projection_adjoint": 28, "backprojection": 42, "backprojection_adjoint": 42}
    NUMBERS_A_VIEW = 24

    def packed(self) -> tuple[ctypes.Structure, ctypes.Structure, np.ndarray]:
        """Return the C structures of arguments and geometry, and the array that the former points to."""
        matrices = np.ascontiguousarray(self.matrices, np.float64)
        lengths = (self.shape, self.detector, self.origin, self.spacing)
        return _Arguments(*lengths, matrices.ctypes.data, len(matrices)), _Geometry(), matrices

    def further_arguments(self) -> tuple[Any, ...]:
        """Return what an operator takes after the geometry."""
        return (ctypes.c_double(self.multiplier),)

    def input_shape(self, operator: str) -> tuple[int, ...]:
        return (self.batch, *self.shape) if operator in TAKE_VOLUMES else self._sinograms()

    def output_shape(self, operator: str) -> tuple[int, ...]:
        return self._sinograms() if operator in TAKE_VOLUMES else (self.batch, *self.shape)

    def _sinograms(self) -> tuple[int, ...]:
        return (self.batch, len(self.matrices), *self.detector)

    def interpolations(self, operator: str) -> float:
        """Return the number of bilinear values: planes that rays cross within the volume, or voxels times views."""
        if "back" in operator:
            return float(self.batch * len(self.matrices)) * float(np.prod(self.shape))
        return self.batch * sum(self._planes(matrix) for matrix in self.matrices)

    def _planes(self, matrix: np.ndarray) -> float:
        rows, columns = np.meshgrid(*(np.arange(n) + 0.5 for n in self.detector), indexing="ij")
        inverse = np.linalg.inv(matrix[:, :3])
        spacing, origin = np.array(self.spacing)[::-1], np.array(self.origin)[::-1]
        ray = np.stack([columns, rows, np.ones_like(rows)], -1) @ inverse.T / spacing
        source = (-inverse @ matrix[:, 3] - origin) / spacing
        with np.errstate(divide="ignore", invalid="ignore"):
            one = (-0.5 - source) / ray
            other = (np.array(self.shape)[::-1] - 0.5 - source) / ray
        length = np.minimum.reduce(np.fmax(one, other), -1) - np.maximum.reduce(np.fmin(one, other), -1)
        return float(np.sum(np.maximum(length, 0) * np.abs(ray).max(-1)))


def circular(
    name: str,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    detector: tuple[int, int],
    pixel: tuple[float, float],
    views: int,
    arc: float = 2 * np.pi,
    distances: tuple[float, float] = (600.0, 400.0),
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0),
    tilt_degrees: float = 0.0,
    first: float = 0.1,
    batch: int = 2,
) -> Scan:
    """Return a scan on a circle about z, or about an axis tilted towards y.

    Args:
      distances: from the source to the detector and to the axis, in mm.
      shift: of the volume's centre, (z, y, x), in mm.
    """
    to_detector, to_axis = distances
    matrices = np.empty((views, 3, 4))
    c, s = np.cos(np.deg2rad(tilt_degrees)), np.sin(np.deg2rad(tilt_degrees))
    tilt = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    to_pixels = np.array([[to_detector / pixel[1], 0, detector[1] / 2], [0, to_detector / pixel[0], detector[0] / 2]])
    to_pixels = np.vstack([to_pixels, [0, 0, 1]])
    for view in range(views):
        angle = first + arc * view / views
        outwards = np.array([np.cos(angle), np.sin(angle), 0.0])
        axes = np.stack([[-outwards[1], outwards[0], 0.0], [0.0, 0.0, 1.0], -outwards]) @ tilt
        matrices[view] = to_pixels @ np.column_stack([axes, [0.0, 0.0, to_axis]])
    z, y, x = (d - (n - 1) / 2 * h for d, n, h in zip(shift, shape, spacing, strict=True))
    return Scan(name, shape, spacing, (z, y, x), detector, matrices, batch=batch)


def small_scans() -> list[Scan]:
    cube, small = (4.0, 4.0, 4.0), (3.0, 3.0)
    return [
        circular("odd sizes", (9, 11, 13), cube, (21, 25), small, 7),
        circular("even sizes", (10, 12, 14), cube, (20, 26), small, 8),
        circular("anisotropic", (8, 9, 10), (5.0, 4.0, 3.0), (14, 17), (6.0, 5.0), 7),
        circular("off centre", (12, 11, 10), cube, (24, 28), (3.0, 4.0), 6, shift=(6.0, -9.0, 13.0)),
        circular("half circle", (12, 13, 12), cube, (20, 24), small, 9, arc=np.pi),
        circular("tall detector", (13, 6, 6), (2.0, 6.0, 6.0), (41, 8), (2.0, 6.0), 7),
        circular("coarse pixels", (20, 19, 18), (1.5, 1.5, 1.5), (7, 6), (9.0, 8.0), 5),
        circular("fine pixels", (5, 6, 7), (8.0, 8.0, 8.0), (60, 64), (1.5, 1.5), 5),
        circular("truncating", (12, 13, 14), cube, (9, 10), small, 6),
        circular("one voxel across", (1, 5, 3), cube, (9, 12), small, 6),
        circular("wide cone", (12, 12, 12), cube, (40, 40), (10.0, 10.0), 12, distances=(100.0, 60.0)),
        circular("close source", (6, 6, 6), cube, (16, 16), (20.0, 20.0), 5, distances=(40.0, 22.0)),
        circular("more views than a launch", (6, 5, 4), cube, (8, 9), (4.0, 4.0), 61),
        circular("tilted", (12, 11, 10), cube, (30, 28), small, 5, tilt_degrees=20.0),
        circular("mainly along z", (12, 11, 10), cube, (30, 28), small, 5, tilt_degrees=80.0),
        arbitrary("arbitrary"),
    ]


def arbitrary(name: str) -> Scan:
    """Return a scan with views from anywhere, skewed pixels, rotated detectors, and matrices with factors."""
    rng = np.random.default_rng(1)
    scan = circular(name, (11, 10, 13), (4.0, 3.5, 3.0), (26, 31), (3.0, 3.0), 9)
    matrices = []
    for matrix in scan.matrices:
        turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        skew = np.array([[1.0, 0.1 * rng.standard_normal(), 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        middle = np.array([[1.0, 0.0, scan.detector[1] / 2], [0.0, 1.0, scan.detector[0] / 2], [0.0, 0.0, 1.0]])
        angle = rng.uniform(0, 2 * np.pi)
        spin = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        full = middle @ skew @ spin @ np.linalg.inv(middle) @ matrix
        matrices.append(rng.choice([-2.0, 0.5]) * full @ np.block([[turn, np.zeros((3, 1))], [np.zeros((1, 3)), 1.0]]))
    return dataclasses.replace(scan, matrices=np.array(matrices))


@dataclasses.dataclass(frozen=True)
class PlanarScan:
    """A parallel-beam scan in the plane, or a fan-beam one: lengths in mm, axes (y, x), rays (views, 2) in (x, y)."""

    name: str
    shape: tuple[int, int]
    spacing: tuple[float, float]
    columns: int
    pixel: float
    views: int
    distances: tuple[float, float] | None = None  # of a fan: from the source to the detector and to the axis
    arc: float = 2 * np.pi
    first: float = 0.1
    shift: tuple[float, float] = (0.0, 0.0)  # of the image's centre
    detector_shift: float = 0.0
    batch: int = 2

    FUNCTIONS = "pyronn_planar"
    FLOPS: ClassVar = {"projection": 14, "projection_adjoint": 14, "backprojection": 20, "backprojection_adjoint": 20}
    NUMBERS_A_VIEW = 8

    @property
    def rays(self) -> np.ndarray:
        angles = self.first + self.arc * np.arange(self.views) / self.views
        return np.stack([np.cos(angles), np.sin(angles)], -1)

    @property
    def origin(self) -> tuple[float, ...]:
        each = zip(self.shape, self.spacing, self.shift, strict=True)
        return tuple(offset - (n - 1) / 2 * step for n, step, offset in each)

    @property
    def detector_origin(self) -> float:
        return self.detector_shift - (self.columns - 1) / 2 * self.pixel

    def packed(self) -> tuple[ctypes.Structure, ctypes.Structure, np.ndarray]:
        rays = np.ascontiguousarray(self.rays)
        detector, axis = self.distances or (0.0, 0.0)
        image, row = (self.shape, self.columns, self.origin, self.spacing), (self.detector_origin, self.pixel)
        fan = (self.distances is not None, axis, detector)
        return _PlanarArguments(*image, *row, *fan, rays.ctypes.data, self.views), _PlanarGeometry(), rays

    def further_arguments(self) -> tuple[Any, ...]:
        return ()

    def input_shape(self, operator: str) -> tuple[int, ...]:
        return (self.batch, *self.shape) if operator in TAKE_VOLUMES else (self.batch, self.views, self.columns)

    def output_shape(self, operator: str) -> tuple[int, ...]:
        return (self.batch, self.views, self.columns) if operator in TAKE_VOLUMES else (self.batch, *self.shape)

    def interpolations(self, operator: str) -> float:
        """Return the number of linear means: about one for each plane along a ray, or pixels times views."""
        if "back" in operator:
            return float(self.batch * self.views * np.prod(self.shape))
        return float(self.batch * self.views * self.columns * max(self.shape))


def planar_scans() -> list[PlanarScan]:
    """Return parallel and fan beams: odd sizes, anisotropic pixels, shifts, truncation, rays along the axes."""
    beams = {"parallel": None, "fan": (90.0, 60.0)}
    found = []
    for beam, distances in beams.items():
        wide = 1.0 if distances is None else 1.6
        found += [
            PlanarScan(f"{beam}, plain", (24, 24), (1.0, 1.0), 36, wide, 20, distances),
            PlanarScan(f"{beam}, odd", (17, 23), (1.0, 1.0), 33, wide, 7, distances, arc=np.pi),
            PlanarScan(f"{beam}, anisotropic", (19, 12), (0.8, 1.9), 31, wide, 9, distances),
            PlanarScan(f"{beam}, along the axes", (15, 16), (1.0, 1.0), 24, wide, 8, distances, first=0.0),
            shifted_scan(beam, distances),
            PlanarScan(f"{beam}, truncating", (24, 22), (1.0, 1.0), 11, wide, 6, distances),
            PlanarScan(f"{beam}, coarse columns", (20, 21), (0.7, 0.7), 6, 5.0, 7, distances),
            PlanarScan(f"{beam}, fine columns", (6, 5), (3.0, 3.5), 90, 0.5, 7, distances),
            PlanarScan(f"{beam}, one pixel across", (1, 9), (2.0, 2.0), 25, wide, 5, distances),
            PlanarScan(f"{beam}, one pixel", (1, 1), (9.0, 7.0), 13, 2.0, 5, distances),
            PlanarScan(f"{beam}, more views than a launch", (5, 6), (2.0, 2.0), 12, 2.0, 101, distances),
        ]
    wide_fan = PlanarScan("fan, close source", (16, 16), (1.0, 1.0), 40, 2.0, 11, (30.0, 14.0))
    return [*found, wide_fan]


def shifted_scan(beam: str, distances: tuple[float, float] | None) -> PlanarScan:
    plain = PlanarScan(f"{beam}, off centre", (14, 18), (1.0, 1.2), 40, 1.1, 9, distances)
    return dataclasses.replace(plain, shift=(4.0, -7.0), detector_shift=2.3)


def large_planar_scans(size: int) -> list[PlanarScan]:
    distances = (4.0 * size, 2.0 * size)
    scans = [
        PlanarScan(f"parallel, {size}^2", (size, size), (1.0, 1.0), 2 * size, 0.75, size),
        PlanarScan(f"fan, {size}^2", (size, size), (1.0, 1.0), 2 * size, 1.5, size, distances),
    ]
    return [dataclasses.replace(scan, batch=1) for scan in scans]


def large_scan(size: int) -> Scan:
    detector = (2 * size, 2 * size)
    return circular(f"{size}^3", (size,) * 3, (2.0,) * 3, detector, (2.0, 2.0), 180, distances=(1200.0, 800.0), batch=1)


AnyScan = Scan | PlanarScan


class Failed(RuntimeError):
    """A call of the library has not succeeded."""


class Library:
    """The C interface of the CUDA library; `emulate` and `cpu` work without a GPU and without CUDA in the library."""

    def __init__(self, path: pathlib.Path) -> None:
        self.c = ctypes.CDLL(str(path))
        if hasattr(self.c, "pyronn_cone_cuda_scratch"):
            self.c.pyronn_cone_cuda_scratch.restype = ctypes.c_int64
            self.c.pyronn_cuda_error.restype = ctypes.c_char_p

    def cpu(
        self, operator: str, scan: AnyScan, values: np.ndarray, any_path: bool = False, threads: int = 0
    ) -> np.ndarray:
        """Return the CPU's result with that many threads, 0 for as many as it has."""
        count = ctypes.c_int32(threads or os.cpu_count() or 1)
        path = (ctypes.c_int32(any_path),) if isinstance(scan, Scan) else ()
        return self._on_host("cpu_apply", operator, scan, values, *path, count)

    def emulate(self, operator: str, scan: AnyScan, values: np.ndarray) -> np.ndarray:
        return self._on_host("emulate_apply", operator, scan, values)

    def gpu(self, operator: str, scan: AnyScan, values: np.ndarray) -> np.ndarray:
        with _OnDevice(self, operator, scan, values) as call:
            call.run()
            return call.result()

    def gpu_ms(self, operator: str, scan: AnyScan, values: np.ndarray, repeats: int) -> float:
        """Return the median milliseconds of a call without transfers, after two calls that do not count."""
        with _OnDevice(self, operator, scan, values) as call:
            call.run()
            call.run()
            return float(np.median([call.timed_run() for _ in range(repeats)]))

    def devices(self) -> int:
        """Return how many GPUs can be used; without a driver that is 0."""
        count = ctypes.c_int32()
        if not hasattr(self.c, "pyronn_cuda_device_count"):
            return 0
        return 0 if self.c.pyronn_cuda_device_count(ctypes.byref(count)) else count.value

    def device(self) -> _Device:
        device = _Device()
        self.check(self.c.pyronn_cuda_device(0, ctypes.byref(device)))
        return device

    def check(self, error: int) -> None:
        if error:
            raise Failed(self.c.pyronn_cuda_error(error).decode())

    def geometry(self, scan: AnyScan) -> tuple[ctypes.Structure, np.ndarray]:
        """Return the geometry and the numbers that it points to.

        Raises:
          ValueError: the geometry is invalid.
        """
        arguments, geometry, _given = scan.packed()
        numbers, message = np.empty((arguments.views, scan.NUMBERS_A_VIEW)), ctypes.create_string_buffer(500)
        pointer, size = ctypes.c_void_p(numbers.ctypes.data), ctypes.c_int64(len(message))
        parse = getattr(self.c, f"{scan.FUNCTIONS}_parse")
        if parse(ctypes.byref(arguments), pointer, ctypes.byref(geometry), message, size):
            raise ValueError(f"{scan.name}: {message.value.decode()}")
        return geometry, numbers

    def scratch(self, which: int, scan: AnyScan, geometry: ctypes.Structure) -> int:
        """Return the bytes of device memory that an operator works with."""
        if isinstance(scan, PlanarScan):
            return 0
        return int(self.c.pyronn_cone_cuda_scratch(which, ctypes.byref(geometry), ctypes.c_int64(scan.batch)))

    def _on_host(self, name: str, operator: str, scan: AnyScan, values: np.ndarray, *more: Any) -> np.ndarray:
        geometry, _numbers = self.geometry(scan)
        given, out = np.ascontiguousarray(values, np.float32), np.full(scan.output_shape(operator), np.nan, np.float32)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (given, out)]
        batch, which = ctypes.c_int64(scan.batch), OPERATORS.index(operator)
        call = getattr(self.c, f"{scan.FUNCTIONS}_{name}")
        if call(which, ctypes.byref(geometry), *scan.further_arguments(), pointers[0], batch, pointers[1], *more):
            raise MemoryError(name)
        return out


class _OnDevice:
    """One operator with its arrays on the device, which are freed at the end of the block."""

    def __init__(self, library: Library, operator: str, scan: AnyScan, values: np.ndarray) -> None:
        self._library, self._which, self._scan = library, OPERATORS.index(operator), scan
        self._geometry, self._numbers = library.geometry(scan)
        self._given = np.ascontiguousarray(values, np.float32)
        self._out = np.full(scan.output_shape(operator), np.nan, np.float32)
        self._memory: list[ctypes.c_void_p] = []
        self._events: list[ctypes.c_void_p] = []

    def __enter__(self) -> _OnDevice:
        c, check = self._library.c, self._library.check
        self._scratch = self._library.scratch(self._which, self._scan, self._geometry)
        for size in (self._given.nbytes, self._out.nbytes, max(self._scratch, 4)):
            self._memory.append(ctypes.c_void_p())
            check(c.pyronn_cuda_malloc(ctypes.byref(self._memory[-1]), ctypes.c_int64(size)))
        for array, memory in zip((self._given, self._out), self._memory, strict=False):
            check(c.pyronn_cuda_to_device(memory, ctypes.c_void_p(array.ctypes.data), ctypes.c_int64(array.nbytes)))
        for _ in range(2):
            self._events.append(ctypes.c_void_p())
            check(c.pyronn_cuda_event_create(ctypes.byref(self._events[-1])))
        return self

    def __exit__(self, *_: object) -> None:
        for event in self._events:
            self._library.c.pyronn_cuda_event_destroy(event)
        for memory in self._memory:
            self._library.c.pyronn_cuda_free(memory)

    def run(self) -> None:
        batch, (given, out, scratch) = ctypes.c_int64(self._scan.batch), self._memory
        work = (scratch, ctypes.c_int64(self._scratch)) if isinstance(self._scan, Scan) else ()
        apply = getattr(self._library.c, f"{self._scan.FUNCTIONS}_cuda_apply")
        geometry = (ctypes.byref(self._geometry), *self._scan.further_arguments())
        self._library.check(apply(self._which, *geometry, given, batch, out, *work, None))

    def timed_run(self) -> float:
        c, check, ms = self._library.c, self._library.check, ctypes.c_float()
        check(c.pyronn_cuda_event_record(self._events[0], None))
        self.run()
        check(c.pyronn_cuda_event_record(self._events[1], None))
        check(c.pyronn_cuda_event_elapsed_ms(*self._events, ctypes.byref(ms)))
        return ms.value

    def result(self) -> np.ndarray:
        size = ctypes.c_int64(self._out.nbytes)
        self._library.check(self._library.c.pyronn_cuda_synchronize())
        pointer = ctypes.c_void_p(self._out.ctypes.data)
        self._library.check(self._library.c.pyronn_cuda_to_host(pointer, self._memory[1], size))
        return self._out


class Difference(NamedTuple):
    """How far a result is from the CPU's, relative to the CPU's largest magnitude and to its root mean square."""

    largest: float
    rms: float


Apply = Callable[[str, Any, np.ndarray], np.ndarray]


def inputs(scan: AnyScan, operator: str) -> np.ndarray:
    """Return noise for an operator's input, in which every position matters."""
    return np.random.default_rng(0).standard_normal(scan.input_shape(operator), np.float32)


def difference(found: np.ndarray, expected: np.ndarray) -> Difference:
    if not np.isfinite(found).all():
        return Difference(np.inf, np.inf)
    error, expected = found.astype(np.float64) - expected, expected.astype(np.float64)
    if not expected.any():
        return Difference(*(np.inf if error.any() else 0.0,) * 2)
    return Difference(
        float(np.abs(error).max() / np.abs(expected).max()),
        float(np.sqrt(np.mean(error**2) / np.mean(expected**2))),
    )


def compare(library: Library, apply: Apply, scan: AnyScan, paths: tuple[bool, ...] = (True,)) -> dict[str, Difference]:
    """Return for each operator the largest difference from the CPU's paths (True: the path for any matrices)."""
    found = {}
    for operator in OPERATORS:
        values = inputs(scan, operator)
        result = apply(operator, scan, values)
        each = [difference(result, library.cpu(operator, scan, values, any_path=path)) for path in paths]
        found[operator] = max(each, key=lambda d: d.rms)
    return found


def asymmetry(apply: Apply, scan: AnyScan, operator: str) -> float:
    """Return |<Ax, y> - <x, A'y>| relative to |Ax| |y|."""
    adjoint = OPERATORS[OPERATORS.index(operator) + 1]
    x, y = inputs(scan, operator), inputs(scan, adjoint)
    forward, back = (apply(*each).astype(np.float64) for each in ((operator, scan, x), (adjoint, scan, y)))
    return float(abs(np.sum(forward * y) - np.sum(back * x)) / (np.linalg.norm(forward) * np.linalg.norm(y)))


def check(library: Library, apply: Apply, scans: Sequence[AnyScan]) -> bool:
    """Print a table; return whether all is within bounds."""
    good = True
    print(f"\n{'geometry':36}{'operator':24}{'max diff':>10}{'rms diff':>10}{'asymmetry':>11}")
    for scan in scans:
        for operator, found in compare(library, apply, scan, (True, False)).items():
            line = f"{scan.name:36}{operator:24}{found.largest:10.1e}{found.rms:10.1e}"
            fine = found.rms <= MOST_RMS
            if not operator.endswith("adjoint"):
                skew = asymmetry(apply, scan, operator)
                fine = fine and skew <= MOST_ASYMMETRY
                line += f"{skew:11.1e}"
            print(line + ("" if fine else "  FAILED"))
            good = good and fine
    return good


def limits(device: _Device) -> tuple[float, float]:
    """Return the card's theoretical GB/s and TFLOP/s."""
    cores = CORES.get((device.major, device.minor), 128)
    return device.bandwidth_gb_s, 2e-3 * device.multiprocessors * cores * device.clock_ghz


def describe(device: _Device) -> None:
    """Print what the card has."""
    bandwidth, tflops = limits(device)
    print(
        f"{device.name.decode()}, compute capability {device.major}.{device.minor}, {device.multiprocessors} "
        f"multiprocessors at {device.clock_ghz:.2f} GHz, {device.l2_bytes / 2**20:.0f} MiB L2; in theory "
        f"{bandwidth:.0f} GB/s and {tflops:.1f} TFLOP/s; driver {device.driver}, runtime {device.runtime}"
    )


def measure(library: Library, scan: AnyScan, repeats: int) -> None:
    """Print times, and what share of the card's limits they reach."""
    bandwidth, tflops = limits(library.device())
    print(f"\n{scan.name}, sinograms {scan.output_shape('projection')}")
    print(
        f"{'operator':24}{'ms':>9}{'CPU ms':>9}{'G interp./s':>13}{'GB/s':>9}{'of max':>8}{'TFLOP/s':>9}{'of max':>8}"
    )
    for operator in OPERATORS:
        values = inputs(scan, operator)
        ms = library.gpu_ms(operator, scan, values, repeats)
        start = time.perf_counter()
        library.cpu(operator, scan, values)
        cpu_ms = 1e3 * (time.perf_counter() - start)
        interpolations = scan.interpolations(operator) / ms * 1e-6
        gb_s = 4e-6 * (values.size + np.prod(scan.output_shape(operator))) / ms
        rate = interpolations * scan.FLOPS[operator] * 1e-3
        shares = [f"{100 * a / b:7.1f}%" if b else f"{'?':>8}" for a, b in ((gb_s, bandwidth), (rate, tflops))]
        print(f"{operator:24}{ms:9.3f}{cpu_ms:9.1f}{interpolations:13.1f}{gb_s:9.1f}{shares[0]}{rate:9.2f}{shares[1]}")
    print("GB/s: every input read and every output written once. TFLOP/s: what the bilinear values themselves take.")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="voxels along each axis; pixels: four times")
    parser.add_argument("--repeats", type=int, default=9, help="measurements of each kernel")
    parser.add_argument(
        "--emulate", action="store_true", help="compute on the CPU what the GPU would; small cases only"
    )
    parser.add_argument("--library", type=pathlib.Path, default=LIBRARY, help="default: %(default)s")
    given = parser.parse_args(arguments)
    if not given.library.is_file():
        print(f"--library={given.library}: no such file; install with PYRONN_LAYERS_CUDA=1, or name the built library")
        return 2
    library = Library(given.library.resolve())
    small: list[AnyScan] = [*small_scans(), *planar_scans()]
    if given.emulate:
        return 0 if check(library, library.emulate, small) else 1
    if library.devices() == 0:
        print("found no CUDA device; --emulate computes the same on the CPU")
        return 2
    large: list[AnyScan] = [large_scan(given.size), *large_planar_scans(4 * given.size)]
    describe(library.device())  # also selects it
    good = check(library, library.gpu, [*small, *large])
    for scan in large:
        measure(library, scan, given.repeats)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
