"""NIfTI headers (nifti1.h, nifti2.h): what ITK does not tell of them or does not check."""

from __future__ import annotations

import dataclasses
import itertools
import math
import pathlib
import struct
from typing import NamedTuple

import numpy as np

from fedsim_tf.data.remarks import warn
from fedsim_tf.errors import InputError

HEADER_BYTES = 540  # NIfTI-2; NIfTI-1 needs 348 of them
_FLOAT_CODES = {16: "f4", 64: "f8"}
# Headers are single precision and are rounded by converters; a tenth of a voxel is far above that.
GRID_TOLERANCE_VOXELS = 0.1
# A quaternion in single precision near half a turn, as LPS axes have it, is off by up to the root of 2e-7.
_QUATERNION_ROUNDING = 1e-3
_MM_PER_UNIT = {1: 1000.0, 2: 1.0, 3: 0.001}  # xyzt_units: metres, millimetres, micrometres; else ITK takes millimetres
_VOXELS_BEGIN = {348: 352, 540: 544}  # behind the header and four bytes that say whether extensions follow


class _Fields(NamedTuple):
    """Where a version of the format keeps its fields: the format letters of `struct` and the offset of each."""

    dims: tuple[str, int]
    datatype: tuple[str, int]  # and the bits of a voxel
    pixdim: tuple[str, int]  # a sign and the sizes of a voxel
    offset: tuple[str, int]
    scaling: tuple[str, int]  # slope and intercept
    units: tuple[str, int]
    codes: tuple[str, int]  # of qform and sform
    qform: tuple[str, int]  # quaternion and offset
    sform: tuple[str, int]  # rows of the matrix


_VERSIONS = {  # by the size of the header in bytes
    348: _Fields(
        *(("8h", 40), ("2h", 70), ("4f", 76), ("f", 108), ("2f", 112), ("B", 123)),
        *(("2h", 252), ("6f", 256), ("12f", 280)),
    ),
    540: _Fields(
        *(("8q", 16), ("2h", 12), ("4d", 104), ("q", 168), ("2d", 176), ("i", 500)),
        *(("2i", 344), ("6d", 352), ("12d", 400)),
    ),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Header:
    """What a NIfTI header announces.

    Attributes:
      shape: voxels along each axis, x first.
      offset: the byte at which voxels begin; least_offset: the first one that a single file leaves to them.
      voxel_bytes: how many bytes all voxels take.
      float_type: the voxels' type if they are floats, else None.
      slope, intercept: what turns the voxels into CT values; both are void where the slope is 0.
      sizes_mm: (3,), a voxel's size along the first three axes (pixdim).
      handedness: -1 where the qform's third axis is reversed, else 1.
      qform_code, sform_code: where the axes come from; 0 means that there are none.
      qform: (6,), quaternion and offset in mm.
      sform: (3, 4), from a voxel's index to mm in the RAS frame.

    Lengths are in mm whatever unit the file says, as in what ITK reads.
    """

    shape: tuple[int, ...]
    offset: int
    least_offset: int
    voxel_bytes: int
    float_type: str | None
    slope: float
    intercept: float
    sizes_mm: np.ndarray
    handedness: int
    qform_code: int
    sform_code: int
    qform: np.ndarray
    sform: np.ndarray


def parse_header(content: bytes) -> Header | None:
    """Return the header in the first bytes of a file, or None if they are no NIfTI header."""
    for order, (size, fields) in itertools.product("<>", _VERSIONS.items()):
        if len(content) < size or struct.unpack_from(order + "i", content)[0] != size:
            continue

        def read(field: tuple[str, int], order: str = order) -> tuple:
            return struct.unpack_from(order + field[0], content, field[1])

        (n_dims, *dims), (datatype, bits), (offset,) = map(read, (fields.dims, fields.datatype, fields.offset))
        if not 1 <= n_dims <= 7 or min(dims[:n_dims]) < 1 or not 0 <= offset < math.inf:
            return None
        shape = tuple(dims[:n_dims])
        qform_code, sform_code = read(fields.codes)
        slope, intercept = read(fields.scaling)
        sign, *sizes = read(fields.pixdim)
        unit_mm = _MM_PER_UNIT.get(read(fields.units)[0] & 7, 1.0)
        quaternion, place = np.split(np.array(read(fields.qform)), 2)
        return Header(
            shape=shape,
            offset=int(offset),
            least_offset=_VOXELS_BEGIN[size],
            voxel_bytes=math.prod(shape) * bits // 8,
            float_type=order + _FLOAT_CODES[datatype] if datatype in _FLOAT_CODES else None,
            slope=slope,
            intercept=intercept,
            sizes_mm=np.array(sizes) * unit_mm,
            handedness=-1 if sign < 0 else 1,
            qform_code=qform_code,
            sform_code=sform_code,
            qform=np.concatenate([quaternion, place * unit_mm]),
            sform=np.array(read(fields.sform)).reshape(3, 4) * unit_mm,
        )
    return None


def corner_indices(shape: tuple[int, ...]) -> np.ndarray:
    """Return the indices (8, 3) of a grid's corner voxels, float64, with axes in the order of `shape`."""
    return np.array(list(itertools.product(*((0, n - 1) for n in shape))), np.float64)


def check_axes(header: Header, path: pathlib.Path) -> None:
    """Refuse a header that ITK and other software read differently, and warn of one without any orientation.

    ITK takes the axes of a header without orientation for left, back and head. Axes that are no more than a tenth of a
    voxel from upright ones at the grid's corners are rounded, not sheared; a qform and an sform that are no further
    apart, and no further than a quaternion is rounded, agree.

    Raises:
      InputError: sheared axes, as of a tilted gantry; sizes, axes or a scaling that are no numbers; sizes that are not
        positive; two different sizes; a qform and an sform that place the patient differently; voxels that begin within
        the header.
    """
    _check_numbers(header, path)
    _check_layout(header, path)
    if not (header.qform_code > 0 or header.sform_code > 0):
        warn("%s: no orientation in its header; its axes are taken for left, back and head", path)
    if header.sform_code <= 0 or len(header.shape) < 3:
        return
    spacing = np.linalg.norm(header.sform[:, :3], axis=0)
    _check_sizes(header, spacing, path)
    left, _, right = np.linalg.svd(header.sform[:, :3] / spacing)
    rest = header.sform[:, :3] - left @ right * spacing
    apart = float(np.linalg.norm(corner_indices(header.shape[:3]) @ rest.T, axis=1).max())
    if apart > GRID_TOLERANCE_VOXELS * spacing.min():
        raise InputError(
            path,
            found=f"sheared axes, whose corners lie up to {apart:.3g} mm from those of upright ones",
            expected="a CT that was resampled to upright ones, where a gantry was tilted",
        )
    if header.qform_code > 0:
        _check_one_place(header, path)


def qform_matrix(header: Header) -> np.ndarray:
    """Return the matrix (3, 4) from a voxel's index to mm in the RAS frame that a qform stands for (nifti1.h)."""
    b, c, d = header.qform[:3]
    rest = 1.0 - (b * b + c * c + d * d)
    if rest < 1e-7:  # half a turn, in single precision
        b, c, d = np.array([b, c, d]) / math.sqrt(b * b + c * c + d * d)
        rest = 0.0
    a = math.sqrt(rest)
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    return np.column_stack([rotation * header.sizes_mm * [1, 1, header.handedness], header.qform[3:]])


def _check_one_place(header: Header, path: pathlib.Path) -> None:
    """Refuse a qform and an sform that place the patient differently: which one is read depends on the software."""
    corners = np.column_stack([corner_indices(header.shape[:3]), np.ones(8)])
    by_qform, by_sform = (corners @ matrix.T for matrix in (qform_matrix(header), header.sform))
    apart_mm = float(np.linalg.norm(by_qform - by_sform, axis=1).max())
    diagonal_mm = float(np.linalg.norm(by_sform[-1] - by_sform[0]))
    if apart_mm > GRID_TOLERANCE_VOXELS * header.sizes_mm.min() + _QUATERNION_ROUNDING * diagonal_mm:
        axes = (
            f"axes {_name_axes(qform_matrix(header))} in qform (code {header.qform_code}) and "
            f"{_name_axes(header.sform)} in sform (code {header.sform_code})"
        )
        found = f"{axes}, with corners up to {apart_mm:.4g} mm apart"
        raise InputError(path, found=found, expected="the same place in both: correct the wrong one")


def _name_axes(matrix: np.ndarray) -> str:
    """Return where a grid's axes point, such as "LPS": to the left, to the back (posterior), to the head (superior)."""
    letters = (("L", "R"), ("P", "A"), ("I", "S"))
    along = [int(np.abs(axis).argmax()) for axis in matrix[:, :3].T]
    return "".join(letters[k][bool(matrix[k, column] > 0)] for column, k in enumerate(along))


def _check_numbers(header: Header, path: pathlib.Path) -> None:
    """Refuse sizes, axes and scalings that are no numbers, which ITK ignores or takes for 1 mm and upright axes."""
    sizes = header.sizes_mm[: len(header.shape)]
    if not np.all(np.isfinite(sizes) & (sizes > 0)):  # ITK mirrors the axis of a negative one
        found = f"voxels of {_format(sizes)} mm in its header"
        raise InputError(path, found=found, expected="their true size, which is positive (pixdim)")
    axes = {"qform": (header.qform_code, header.qform), "sform": (header.sform_code, header.sform)}
    for name, (code, values) in axes.items():
        if code > 0 and not np.all(np.isfinite(values)):
            raise InputError(path, found=f"{name} with values that are no numbers", expected="a header with axes")
    if header.sform_code > 0 and len(header.shape) > 2 and not np.all(np.abs(header.sform[:, :3]).max(axis=0) > 0):
        expected = "three axes, or sform_code 0 where the qform has them"
        raise InputError(path, found="an sform without the direction of an axis", expected=expected)
    # By the standard a slope of 0 means no scaling at all; ITK adds the intercept nevertheless.
    if not (math.isfinite(header.slope) and math.isfinite(header.intercept)) or (header.slope == 0 != header.intercept):
        found = f"a scaling with slope {header.slope:g} and intercept {header.intercept:g}"
        raise InputError(
            path, found=found, expected="finite numbers, and intercept 0 where the slope is 0 (no scaling)"
        )


def _check_layout(header: Header, path: pathlib.Path) -> None:
    """Refuse voxels that begin within the header: ITK would take the header for voxels and lose the last ones."""
    if header.offset < header.least_offset:
        found = f"voxels that begin at byte {header.offset}, within its header (vox_offset)"
        raise InputError(path, found=found, expected=f"{header.least_offset} or more in a single file")


def _check_sizes(header: Header, spacing_mm: np.ndarray, path: pathlib.Path) -> None:
    """Refuse two different sizes: ITK reads pixdim, viewers read sform."""
    apart = np.abs(spacing_mm - header.sizes_mm) * (np.array(header.shape[:3]) - 1)
    if np.any(apart > GRID_TOLERANCE_VOXELS * spacing_mm):
        found = f"voxels of {_format(header.sizes_mm)} mm in pixdim and of {_format(spacing_mm)} mm in sform"
        raise InputError(path, found=found, expected="the same in both")


def _format(values: np.ndarray) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
