"""Whether a NIfTI file is whole and its voxels are numbers.

ITK reads a truncated file without complaint and fills the rest with zeros, it does the same with NaN, and it never
looks at gzip's checksum; nor does it complain when a full disk cuts short what it writes. A heart cut off by a broken
download must not become training data, so the stream is read through once here.
"""

from __future__ import annotations

import gzip
import math
import pathlib
import struct
import zlib
from typing import BinaryIO, NamedTuple, cast

import numpy as np

from fedsim_tf.errors import InputError

EXPECTED = "a whole three-dimensional NIfTI file (.nii or .nii.gz)"
_HEADER_BYTES = 540  # NIfTI-2; NIfTI-1 needs 348 of them
_BLOCK_BYTES = 1 << 22
_FLOAT_CODES = {16: "f4", 64: "f8"}


class _Layout(NamedTuple):
    """What a header announces: where voxels begin, how many bytes they take, their type if they are floats."""

    offset: int
    voxel_bytes: int
    float_type: str | None


def check_whole(path: pathlib.Path, *, finite: bool = True) -> None:
    """Reads the file through.

    Args:
      path: the file.
      finite: whether its voxels have to be.

    Raises:
      InputError: no such file, not a NIfTI file, a broken gzip stream, fewer voxels than the header announces, or
        voxels that are NaN or infinite.
    """
    if not path.is_file():
        raise InputError(path, found="no such file", expected=EXPECTED)
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as stream:
            _check_stream(cast(BinaryIO, stream), path, finite=finite)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(path, found=f"a truncated or damaged gzip stream ({error})", expected=EXPECTED) from error
    except OSError as error:
        raise InputError(path, found=f"an unreadable file ({error.strerror})", expected=EXPECTED) from error


def _check_stream(stream: BinaryIO, path: pathlib.Path, *, finite: bool) -> None:
    layout = _layout(stream.read(_HEADER_BYTES))
    if layout is None:
        raise InputError(path, found="no NIfTI header", expected=EXPECTED)
    stream.seek(layout.offset)
    length, not_finite = 0, 0
    while block := stream.read(_BLOCK_BYTES):
        inside = block[: max(0, layout.voxel_bytes - length)]
        if finite and layout.float_type is not None:
            values = np.frombuffer(inside, layout.float_type, len(inside) // int(layout.float_type[-1]))
            not_finite += len(values) - int(np.count_nonzero(np.isfinite(values)))
        length += len(block)
    if length < layout.voxel_bytes:
        found = f"a truncated file: {length} bytes of voxels where its header announces {layout.voxel_bytes}"
        raise InputError(path, found=found, expected=EXPECTED)
    if not_finite:
        raise InputError(path, found=f"{not_finite} voxels that are NaN or infinite", expected="finite values")


def _layout(header: bytes) -> _Layout | None:
    """Reads a NIfTI header (nifti1.h, nifti2.h); None if it is not one."""
    for order in "<>":
        if len(header) >= 348 and struct.unpack_from(order + "i", header)[0] == 348:
            fields = "8h", 40, "h", 70, "f", 108
        elif len(header) >= 540 and struct.unpack_from(order + "i", header)[0] == 540:
            fields = "8q", 16, "h", 12, "q", 168
        else:
            continue
        dims = struct.unpack_from(order + fields[0], header, fields[1])
        code, bits = struct.unpack_from(order + "2" + fields[2], header, fields[3])
        (offset,) = struct.unpack_from(order + fields[4], header, fields[5])
        return _checked(dims, code, bits, offset, order)
    return None


def _checked(dims: tuple[int, ...], code: int, bits: int, offset: float, order: str) -> _Layout | None:
    if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1 or not 0 <= offset < math.inf:
        return None
    float_type = order + _FLOAT_CODES[code] if code in _FLOAT_CODES else None
    return _Layout(int(offset), math.prod(dims[1 : dims[0] + 1]) * bits // 8, float_type)
