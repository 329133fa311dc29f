"""The place of a NIfTI file's grid, copied to a mask byte for byte.

ITK writes one place of its own making as qform and sform alike. Programs that compare headers, or that read the one
that the CT does not have, would find the mask elsewhere.
"""

from __future__ import annotations

import gzip
import pathlib
import struct
from typing import NamedTuple

from fedsim_tf.data.headers import HEADER_BYTES


class _Place(NamedTuple):
    """Where a version of the format keeps the place of its grid: format letters of `struct` and offsets."""

    pixdim: tuple[str, int]  # a sign and the sizes of a voxel
    codes: tuple[str, int]  # of qform and sform
    qform: tuple[str, int]  # quaternion and offset
    sform: tuple[str, int]


_VERSIONS = {
    348: _Place(("4f", 76), ("2h", 252), ("6f", 256), ("12f", 280)),
    540: _Place(("4d", 104), ("2i", 344), ("6d", 352), ("12d", 400)),
}


def with_place_of(content: bytes, source: pathlib.Path) -> bytes:
    """Return a NIfTI-1 file's bytes with the sizes, qform and sform of another file, whose grid it has.

    Args:
      content: the file, not compressed, little-endian, as ITK writes it.
      source: the other file, of either version.
    """
    opener = gzip.open if source.suffix.lower() == ".gz" else open
    with opener(source, "rb") as stream:
        header = stream.read(HEADER_BYTES)
    order = "<" if struct.unpack_from("<i", header)[0] in _VERSIONS else ">"
    theirs, ours = _VERSIONS[struct.unpack_from(order + "i", header)[0]], _VERSIONS[348]
    changed = bytearray(content)
    for (their_letters, their_offset), (our_letters, our_offset) in zip(theirs, ours, strict=True):
        values = struct.unpack_from(order + their_letters, header, their_offset)
        struct.pack_into("<" + our_letters, changed, our_offset, *values)
    return bytes(changed)
