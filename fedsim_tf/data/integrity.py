"""A check that a NIfTI file is whole and that its voxels are numbers.

ITK reads a truncated file without complaint and fills the rest with zeros; it does the same with NaN, and it never
looks at gzip's checksum. Nor does it complain when a full disk cuts short what it writes. A heart cut off by a broken
download must not become training data, so the stream is read through once here.
"""

from __future__ import annotations

import gzip
import pathlib
import zlib
from typing import BinaryIO, cast

import numpy as np

from fedsim_tf.data.contents import EXPECTED, FIRST_BYTES, describe_other_format, stat_file
from fedsim_tf.data.headers import HEADER_BYTES, Header, parse_header
from fedsim_tf.errors import InputError

_BLOCK_BYTES = 1 << 22


def check_whole(path: pathlib.Path, *, finite: bool = True) -> Header:
    """Read a file through and return what its header says.

    Args:
      path: the file.
      finite: whether its voxels have to be finite.

    Raises:
      InputError: no such file, not a NIfTI file, a broken gzip stream, fewer voxels than the header announces, or
        voxels that are NaN or infinite.
    """
    stat_file(path)
    if not path.is_file():
        raise InputError(path, found="no file but a folder or device", expected=EXPECTED)
    _check_format(path)
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rb") as stream:
            return _check_stream(cast(BinaryIO, stream), path, finite=finite)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        found = f"a truncated or damaged gzip stream ({error})"
        raise InputError(path, found=found, expected=f"{EXPECTED}: copy or download it again") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _check_format(path: pathlib.Path) -> None:
    try:
        with path.open("rb") as stream:
            other = describe_other_format(stream.read(FIRST_BYTES), path)
    except OSError as error:
        raise _unreadable(path, error) from error
    if other:
        raise InputError(path, found=other[0], expected=other[1])


def _unreadable(path: pathlib.Path, error: OSError) -> InputError:
    return InputError(path, found=f"an unreadable file ({error.strerror})", expected=EXPECTED)


def _check_stream(stream: BinaryIO, path: pathlib.Path, *, finite: bool) -> Header:
    header = parse_header(stream.read(HEADER_BYTES))
    if header is None:
        raise InputError(path, found="no NIfTI header", expected=EXPECTED)
    stream.seek(header.offset)
    length, not_finite = 0, 0
    while block := stream.read(_BLOCK_BYTES):
        inside = block[: max(0, header.voxel_bytes - length)]
        if finite and header.float_type is not None:
            values = np.frombuffer(inside, header.float_type, len(inside) // int(header.float_type[-1]))
            not_finite += len(values) - int(np.count_nonzero(np.isfinite(values)))
        length += len(block)
    if length < header.voxel_bytes:
        found = f"a truncated file: {length} bytes of voxels where its header announces {header.voxel_bytes}"
        raise InputError(path, found=found, expected=EXPECTED)
    if not_finite:
        raise InputError(path, found=f"{not_finite} voxels that are NaN or infinite", expected="finite values")
    return header
