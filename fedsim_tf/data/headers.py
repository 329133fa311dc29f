"""NIfTI headers (nifti1.h, nifti2.h): what ITK does not tell of them or does not check."""

from __future__ import annotations

import dataclasses
import itertools
import math
import pathlib
import struct
from typing import NamedTuple

import numpy as np
from absl import logging

from fedsim_tf.errors import InputError

HEADER_BYTES = 540  # NIfTI-2; NIfTI-1 needs 348 of them
_FLOAT_CODES = {16: "f4", 64: "f8"}
# Headers are single precision and are rounded by converters; a tenth of a voxel is far above that.
GRID_TOLERANCE_VOXELS = 0.1


class _Fields(NamedTuple):
    """Where a version of the format keeps its fields: the format letters of `struct` and the offset of each."""

    dims: tuple[str, int]
    datatype: tuple[str, int]  # and the bits of a voxel
    pixdim: tuple[str, int]  # a sign and the sizes of a voxel
    offset: tuple[str, int]
    codes: tuple[str, int]  # of qform and sform
    qform: tuple[str, int]  # quaternion and offset
    sform: tuple[str, int]  # rows of the matrix


_VERSIONS = {  # by the size of the header in bytes
    348: _Fields(("8h", 40), ("2h", 70), ("4f", 76), ("f", 108), ("2h", 252), ("6f", 256), ("12f", 280)),
    540: _Fields(("8q", 16), ("2h", 12), ("4d", 104), ("q", 168), ("2i", 344), ("6d", 352), ("12d", 400)),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Header:
    """What a NIfTI header announces.

    Attributes:
      shape: voxels along each axis, x first.
      offset: the byte at which voxels begin.
      voxel_bytes: how many bytes all voxels take.
      float_type: the voxels' type if they are floats, else None.
      sizes_mm: (3,), a voxel's size along the first three axes (pixdim).
      qform_code, sform_code: where the axes come from; 0 means that there are none.
      qform: (6,), quaternion and offset.
      sform: (3, 4), from a voxel's index to mm in the RAS frame.
    """

    shape: tuple[int, ...]
    offset: int
    voxel_bytes: int
    float_type: str | None
    sizes_mm: np.ndarray
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
        return Header(
            shape=shape,
            offset=int(offset),
            voxel_bytes=math.prod(shape) * bits // 8,
            float_type=order + _FLOAT_CODES[datatype] if datatype in _FLOAT_CODES else None,
            sizes_mm=np.array(read(fields.pixdim))[1:],
            qform_code=qform_code,
            sform_code=sform_code,
            qform=np.array(read(fields.qform)),
            sform=np.array(read(fields.sform)).reshape(3, 4),
        )
    return None


def corner_indices(shape: tuple[int, ...]) -> np.ndarray:
    """Return the indices (8, 3) of a grid's corner voxels, float64, with axes in the order of `shape`."""
    return np.array(list(itertools.product(*((0, n - 1) for n in shape))), np.float64)


def check_axes(header: Header, path: pathlib.Path) -> None:
    """Refuse axes that ITK would misread, and warn of a header without any orientation.

    ITK takes the axes of a header without orientation for left, back and head. Axes that are no more than a tenth of a
    voxel from upright ones at the grid's corners are rounded, not sheared.

    Raises:
      InputError: sheared axes, as of a tilted gantry; sizes or axes that are no numbers; two different sizes.
    """
    _check_numbers(header, path)
    if not (header.qform_code > 0 or header.sform_code > 0):
        logging.warning("%s: no orientation in its header; its axes are taken for left, back and head", path)
    spacing = np.linalg.norm(header.sform[:, :3], axis=0)
    if header.sform_code <= 0 or len(header.shape) < 3 or not np.all(spacing > 0):
        return
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


def _check_numbers(header: Header, path: pathlib.Path) -> None:
    """Refuse sizes and axes that are no numbers: ITK takes them for 1 mm and for upright axes."""
    sizes = header.sizes_mm[: len(header.shape)]
    if not np.all(np.isfinite(sizes) & (sizes != 0)):
        found = f"voxels of {_format(sizes)} mm in its header"
        raise InputError(path, found=found, expected="their true size (pixdim)")
    axes = {"qform": (header.qform_code, header.qform), "sform": (header.sform_code, header.sform)}
    for name, (code, values) in axes.items():
        if code > 0 and not np.all(np.isfinite(values)):
            raise InputError(path, found=f"{name} with values that are no numbers", expected="a header with axes")


def _check_sizes(header: Header, spacing_mm: np.ndarray, path: pathlib.Path) -> None:
    """Refuse two different sizes: ITK reads pixdim, viewers read sform."""
    apart = np.abs(spacing_mm - np.abs(header.sizes_mm)) * (np.array(header.shape[:3]) - 1)
    if np.any(apart > GRID_TOLERANCE_VOXELS * spacing_mm):
        found = f"voxels of {_format(header.sizes_mm)} mm in pixdim and of {_format(spacing_mm)} mm in sform"
        raise InputError(path, found=found, expected="the same in both")


def _format(values: np.ndarray) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
