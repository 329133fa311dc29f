"""Reading and writing surfaces in mesh files: legacy VTK, VTU and STL with vtk, PLY with trimesh.

Files are in mm and LPS; the region of each vertex is its `region_id`. VTU has no header that names the space: 3D Slicer
takes such files as LPS.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.files import write_atomically
from fedsim_tf.shape.meshes import Mesh, MeshContent, check_mesh, region_of_vertices
from fedsim_tf.shape.ply_files import read_ply, write_ply
from fedsim_tf.shape.vtk_files import (
    read_legacy_vtk,
    read_stl,
    read_vtu,
    write_legacy_vtk,
    write_stl,
    write_vtu,
)

SUFFIXES = (".vtk", ".vtu", ".ply", ".stl")
SUFFIXES_WITH_VECTORS = (".vtk", ".vtu")
_HEADER_BYTES = 400
_READERS: dict[str, Callable[[pathlib.Path], MeshContent]] = {
    ".vtk": read_legacy_vtk,
    ".vtu": read_vtu,
    ".ply": read_ply,
    ".stl": read_stl,
}


def read_mesh(path: str | os.PathLike) -> Mesh:
    """Return the triangle surface in a file, whose format is known by its suffix.

    Regions come from point data `region_id`, or else from cell data of that name. In STL, which stores each triangle by
    itself, identical points become one. Coordinates are LPS; where the header says SPACE=RAS, they are turned.

    Raises:
      InputError: no such file, an unknown suffix, a damaged or empty file, other cells than triangles, coordinates
        that are not finite, regions other than 1..7, or no vtk.
    """
    path = pathlib.Path(path)
    _check_suffix(path)
    if not path.is_file():
        raise InputError(path, found="no such file", expected=f"a mesh: {', '.join(SUFFIXES)}")
    try:
        content = _READERS[path.suffix.lower()](path)
        region_id = region_of_vertices(path, content)
    except InputError:
        raise
    except Exception as error:  # damaged files raise a dozen different types
        raise InputError(path, found=f"a damaged or foreign file ({error!r})", expected="a triangle mesh") from error
    return check_mesh(path, _to_lps(path, content.points), faces=content.faces, region_id=region_id)


def write_mesh(
    path: str | os.PathLike,
    points: np.ndarray,
    faces: np.ndarray,
    region_id: np.ndarray,
    *,
    vectors: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write a triangle surface atomically, in the format of the suffix.

    Args:
      path: .vtk (legacy, binary POLYDATA), .vtu, .ply or .stl (binary; regions are lost).
      points: (V, 3) in mm, LPS.
      faces: (F, 3).
      region_id: (V,), 1..7.
      vectors: name to point vectors (V, 3), in .vtk and .vtu only.

    Raises:
      InputError: an unknown suffix, arrays that do not fit together, vectors in a format without them, or no vtk.
    """
    path = pathlib.Path(path)
    _check_suffix(path)
    suffix, vectors = path.suffix.lower(), dict(vectors or {})
    if vectors and suffix not in SUFFIXES_WITH_VECTORS:
        raise InputError(path, found=f"vectors in {suffix}", expected="vectors in .vtk or .vtu only")
    mesh = check_mesh(path, points, faces=faces, region_id=region_id)
    fields = {name: np.asarray(values, np.float32) for name, values in vectors.items()}
    for name, values in fields.items():
        if values.shape != mesh.points.shape:
            raise InputError(f"vectors {name}", found=f"shape {values.shape}", expected=str(mesh.points.shape))
    with write_atomically(path) as temporary:
        if suffix == ".vtk":
            write_legacy_vtk(temporary, mesh, fields)
        elif suffix == ".vtu":
            write_vtu(temporary, mesh, fields)
        elif suffix == ".ply":
            write_ply(temporary, mesh)
        else:
            write_stl(temporary, mesh)


def _check_suffix(path: pathlib.Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(path, found=f"suffix {path.suffix!r}", expected=f"one of {', '.join(SUFFIXES)}")


def _to_lps(path: pathlib.Path, points: np.ndarray) -> np.ndarray:
    """Return the points in LPS. 3D Slicer wrote RAS before 2020, and says so in the header."""
    with open(path, "rb") as file:
        is_ras = b"SPACE=RAS" in file.read(_HEADER_BYTES)
    return points * np.array([-1, -1, 1]) if is_ras else points
