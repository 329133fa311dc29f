"""Headers of NRRD and MetaImage files (teem.sourceforge.net/nrrd/format.html, itk.org/Wiki/MetaIO), as they announce.

ITK takes voxels without a size for 1 mm, never looks at a stream's checksum, and says of a file that was cut short that
there is "no such file". So the header is read here and the voxels are counted, as `integrity` does for NIfTI.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from fedsim_tf.data.formats import META_SUFFIXES, has_suffix
from fedsim_tf.errors import InputError

EXPECTED_TEXT_HEADER = "a whole three-dimensional NRRD or MetaImage file"
_MOST_HEADER_BYTES = 1 << 20
_BLOCK_BYTES = 1 << 22
_NRRD_BYTES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(
        ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t", "float"), 4
    ),
    **dict.fromkeys(("longlong", "long long", "long long int", "int64", "int64_t"), 8),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t", "double"), 8),
}
_META_BYTES = {
    **dict.fromkeys(("MET_CHAR", "MET_UCHAR"), 1),
    **dict.fromkeys(("MET_SHORT", "MET_USHORT"), 2),
    **dict.fromkeys(("MET_INT", "MET_UINT", "MET_FLOAT"), 4),
    **dict.fromkeys(("MET_LONG_LONG", "MET_ULONG_LONG", "MET_DOUBLE"), 8),
}


@dataclasses.dataclass(frozen=True)
class TextHeader:
    """What the header of a NRRD or MetaImage file announces.

    Attributes:
      fields: names in small letters and their values, as text.
      data_file: the file that holds the voxels, the header's own or another; None where they lie in several.
      offset: the byte at which they begin in it.
      voxel_bytes: how many bytes all voxels take; None where the type or the encoding is an unusual one.
      compressed: whether they are packed with gzip or zlib.
    """

    fields: Mapping[str, str]
    data_file: pathlib.Path | None
    offset: int
    voxel_bytes: int | None
    compressed: bool


def read_text_header(path: pathlib.Path) -> TextHeader:
    """Return the header of a .nrrd, .nhdr, .mha or .mhd file.

    Raises:
      InputError: no such file, or no header of the format that its name stands for.
    """
    if not path.is_file():
        raise InputError(path, found="no such file", expected=EXPECTED_TEXT_HEADER)
    parse = _parse_meta if has_suffix(path, META_SUFFIXES) else _parse_nrrd
    try:
        with path.open("rb") as stream:
            return parse(stream, path)
    except (KeyError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        found = f"a damaged header ({error})"
        raise InputError(path, found=found, expected=EXPECTED_TEXT_HEADER) from error
    except OSError as error:
        raise InputError(path, found=f"an unreadable file ({error.strerror})", expected=EXPECTED_TEXT_HEADER) from error


def list_data_files(path: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Return a volume's file and, where its voxels lie in another one that is there, that one."""
    if not has_suffix(path, (".nhdr", ".mhd")):
        return (path,)
    try:
        data = read_text_header(path).data_file
    except InputError:
        return (path,)
    return (path,) if data is None or data == path or not data.is_file() else (path, data)


def check_voxels_whole(header: TextHeader, path: pathlib.Path) -> None:
    """Read a file's voxels through.

    Raises:
      InputError: no file with voxels, fewer of them than the header announces, or a packed stream that is damaged.
    """
    if header.data_file is None:
        return
    if not header.data_file.is_file():
        raise InputError(path, found=f"no {header.data_file.name} beside it", expected="the file with its voxels")
    if header.voxel_bytes is None:
        return
    length = (_count_packed if header.compressed else _count_plain)(header, path)
    if length < header.voxel_bytes:
        found = f"a truncated file: {length} bytes of voxels where its header announces {header.voxel_bytes}"
        raise InputError(path, found=found, expected=EXPECTED_TEXT_HEADER)


def _count_plain(header: TextHeader, _path: pathlib.Path) -> int:
    return pathlib.Path(str(header.data_file)).stat().st_size - header.offset


def _count_packed(header: TextHeader, path: pathlib.Path) -> int:
    """Return how many bytes a gzip or zlib stream unpacks to; zlib checks its sum at the end."""
    length = 0
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # either kind of stream
    try:
        with pathlib.Path(str(header.data_file)).open("rb") as stream:
            stream.seek(header.offset)
            while not unpacker.eof and (block := stream.read(_BLOCK_BYTES)):
                length += len(unpacker.decompress(block))
            length += len(unpacker.flush())
    except zlib.error as error:
        found = f"a damaged packed stream ({error})"
        raise InputError(path, found=found, expected=EXPECTED_TEXT_HEADER) from error
    if not unpacker.eof and length >= (header.voxel_bytes or 0):
        raise InputError(path, found="a packed stream without an end", expected=EXPECTED_TEXT_HEADER)
    return length


def _parse_nrrd(stream: BinaryIO, path: pathlib.Path) -> TextHeader:
    if not stream.readline(_MOST_HEADER_BYTES).startswith(b"NRRD"):
        raise InputError(path, found="no NRRD header", expected=EXPECTED_TEXT_HEADER)
    fields: dict[str, str] = {}
    for line in _lines(stream):
        if not line.strip():
            break
        name, mark, value = line.partition(":")
        if mark and not line.startswith("#"):
            fields[name.strip().lower()] = value.removeprefix("=").strip()
            if name.strip().lower() in ("data file", "datafile") and value.strip().upper().startswith("LIST"):
                break
    data, offset = fields.get("data file", fields.get("datafile")), stream.tell()
    encoding, skips = fields["encoding"].lower(), int(fields.get("byte skip", fields.get("byteskip", "0")))
    usual = encoding in ("raw", "gzip", "gz") and "line skip" not in fields and "lineskip" not in fields and skips >= 0
    voxel = _NRRD_BYTES.get(fields["type"].lower())
    count = math.prod(map(int, fields["sizes"].split()))
    return TextHeader(
        fields=fields,
        data_file=_find_data(path, data),
        offset=(offset if data is None else 0) + (skips if encoding == "raw" else 0),
        voxel_bytes=count * voxel if usual and voxel else None,
        compressed=encoding != "raw",
    )


def _parse_meta(stream: BinaryIO, path: pathlib.Path) -> TextHeader:
    fields: dict[str, str] = {}
    for line in _lines(stream):
        name, mark, value = line.partition("=")
        if not mark:
            break
        fields[name.strip().lower()] = value.strip()
        if name.strip().lower() == "elementdatafile":
            break
    if "elementdatafile" not in fields or "dimsize" not in fields:
        raise InputError(path, found="no MetaImage header", expected=EXPECTED_TEXT_HEADER)
    data, offset = fields["elementdatafile"], stream.tell()
    local = data.upper() == "LOCAL"
    voxel, channels = _META_BYTES.get(fields["elementtype"]), int(fields.get("elementnumberofchannels", "1"))
    count = math.prod(map(int, fields["dimsize"].split())) * channels
    usual = fields.get("binarydata", "True").lower() == "true" and int(fields.get("headersize", "0")) >= 0
    return TextHeader(
        fields=fields,
        data_file=path if local else _find_data(path, data),
        offset=offset if local else int(fields.get("headersize", "0")),
        voxel_bytes=count * voxel if usual and voxel else None,
        compressed=fields.get("compresseddata", "False").lower() == "true",
    )


def _lines(stream: BinaryIO) -> Iterator[str]:
    while (line := stream.readline(_MOST_HEADER_BYTES)) and stream.tell() < _MOST_HEADER_BYTES:
        yield line.decode("utf-8", "replace").rstrip("\r\n")


def _find_data(path: pathlib.Path, name: str | None) -> pathlib.Path | None:
    """Return the file with the voxels, or None where they lie in more than one."""
    if name is None:
        return path
    if name.upper().startswith("LIST") or "%" in name:
        return None
    return path.parent / name
