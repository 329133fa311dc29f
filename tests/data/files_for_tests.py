"""Tiny volumes and data sets on disk."""

import gzip
import pathlib
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from fedsim_tf.errors import InputError
from fedsim_tf.volume import Case, Geometry, Volume

SHAPE = (6, 7, 8)


def write(path: pathlib.Path, array: np.ndarray, *, spacing=(20.0, 20.0, 20.0), origin=(0.0, 0.0, 0.0)) -> pathlib.Path:
    """Writes with SimpleITK directly, so that reading is not tested against our own writing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(path))
    return path


def raw_nifti(
    array: np.ndarray,
    srow: np.ndarray,
    *,
    qform: np.ndarray | None = None,
    codes=None,
    sizes=None,
    units=2,
    scaling=(1.0, 0.0),
    offset=352.0,
) -> bytes:
    """A NIfTI-1 file of int16 voxels (z, y, x) byte by byte.

    `srow` (3, 4) is its sform in the RAS frame and `qform` (3, 4) what its quaternion says. `codes` are those of qform
    and sform, by default 1 for each that is given.
    """
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *array.shape[::-1], 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 4, 16)
    sizes = np.linalg.norm(srow[:, :3], axis=0) if sizes is None else sizes
    struct.pack_into("<8f", header, 76, 1.0, *sizes, 1, 1, 1, 1)
    struct.pack_into("<3f", header, 108, offset, *scaling)
    header[123] = units
    struct.pack_into("<2h", header, 252, *(codes or (int(qform is not None), 1)))
    if qform is not None:
        axes = qform[:, :3] / np.linalg.norm(qform[:, :3], axis=0)
        sign = np.sign(np.linalg.det(axes))
        quaternion = Rotation.from_matrix(axes * [1, 1, sign]).as_quat(canonical=True)[:3]
        struct.pack_into("<f", header, 76, sign)
        struct.pack_into("<6f", header, 256, *quaternion, *qform[:, 3])
    struct.pack_into("<12f", header, 280, *srow.ravel())
    header[344:348] = b"n+1\0"
    return bytes(header) + array.astype("<i2").tobytes()


def ct(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 1000, SHAPE).astype(np.int16)


def labels(*values: int, dtype=np.int16) -> np.ndarray:
    """Background, and one voxel of each value."""
    array = np.zeros(SHAPE, dtype)
    array.reshape(-1)[10 : 10 + len(values)] = values
    return array


def truncate(path: pathlib.Path) -> pathlib.Path:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def gzip_with_flipped_voxel(path: pathlib.Path) -> pathlib.Path:
    """Stored blocks keep the stream readable: only the checksum knows."""
    plain = gzip.decompress(path.read_bytes())
    packed = bytearray(gzip.compress(plain, compresslevel=0))
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(bytes(packed))
    return path


def mmwhs(root: pathlib.Path, n: int = 2, *, suffix: str = ".nii.gz", values=(500, 600, 420, 550, 205, 820, 850)):
    for number in range(1001, 1001 + n):
        write(root / f"ct_train_{number}_image{suffix}", ct(number))
        write(root / f"ct_train_{number}_label{suffix}", labels(*values))


def chd68(root: pathlib.Path, numbers, *, values=(1, 2, 3, 4, 5, 6, 7)):
    for number in numbers:
        write(root / f"ct_{number}_image.nii.gz", ct(number))
        write(root / f"ct_{number}_label.nii.gz", labels(*values))


def block_case(geometry: Geometry, shape=(40, 48, 56)) -> Case:
    """A bright block off the centre, labelled 3, in a CT of its own direction."""
    label = np.zeros(shape, np.uint8)
    label[8:22, 10:30, 30:50] = 3
    return Case("block", Volume(np.where(label, 300.0, -500.0).astype(np.float32), geometry), Volume(label, geometry))


def centroid_mm(volume: Volume) -> np.ndarray:
    """Centre of mass in mm (LPS), from nothing but the definition of a geometry."""
    index = np.argwhere(volume.array > 0).mean(axis=0)[::-1]
    axes = np.asarray(volume.geometry.direction).reshape(3, 3)
    return np.asarray(volume.geometry.origin_mm) + axes @ (index * np.asarray(volume.geometry.spacing_mm))


def refused(action, *fragments: str) -> str:
    """Calls, expects an InputError of one line with all the fragments, and returns its text."""
    with pytest.raises(InputError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message, message
    assert ": found " in message
    assert "; expected " in message
    for fragment in fragments:
        assert str(fragment) in message, f"{fragment!r} not in {message!r}"
    return message
